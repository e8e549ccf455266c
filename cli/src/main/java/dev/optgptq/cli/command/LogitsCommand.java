package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

@Command(name = "logits", mixinStandardHelpOptions = true, description = "Writes the logits for given token ids, for comparing "
        + "with other implementations.")
final class LogitsCommand implements Callable<Integer> {

    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before call()
    private EvalCommand parent;

    @Parameters(paramLabel = "MODEL_DIR", description = "a model directory, plain or quantized")
    @SuppressWarnings("NullAway.Init") // required
    private Path model;

    @Option(names = "--input", required = true, paramLabel = "FILE", description = "safetensors with input_ids, int64 "
            + "[batch, length]")
    @SuppressWarnings("NullAway.Init") // required
    private Path input;

    @Option(names = "--output", required = true, paramLabel = "FILE", description = "safetensors to write: logits, float32 "
            + "[batch, length, vocabulary]")
    @SuppressWarnings("NullAway.Init") // required
    private Path output;

    @Mixin
    private final DeviceOptions device = new DeviceOptions();

    @Override
    public Integer call() {
        TokenSequences ids = ids();
        try (JobProgress progress = parent.root().console().progress();
                ModelDirectory source = ModelDirectory.open(model);
                Device opened = device.open()) {
            Transformer transformer = Transformer.open(source, opened);
            ids.requireVocabulary(transformer.spec().vocabSize());
            Logits.write(transformer, ids, output, progress);
        }
        return OptGptq.DONE;
    }

    private TokenSequences ids() {
        try (SafetensorsFile file = SafetensorsFile.open(input)) {
            TensorView view = file.tensors().get("input_ids");
            if (view == null || view.dtype() != DType.I64 || view.shape().rank() != 2 || view.shape().elements() == 0) {
                throw new UserError(UserError.Code.BAD_TEXT, input + ": expected input_ids, I64 [batch, length], found "
                        + (view == null ? "no such tensor" : view.dtype() + " " + view.shape()));
            }
            int[] ids = new int[Math.toIntExact(view.shape().elements())];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = Math.clamp(view.data().get(LONG, 8L * i), -1, Integer.MAX_VALUE);
            }
            return new TokenSequences(ids, Math.toIntExact(view.shape().dimension(0)),
                    Math.toIntExact(view.shape().dimension(1)));
        }
    }
}
