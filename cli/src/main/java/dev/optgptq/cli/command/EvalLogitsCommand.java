package dev.optgptq.cli.command;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.ParameterGradients;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.ModelFiles;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(name = "logits", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Write a model's logits, for comparing with other implementations.", description = {
        "",
        "Reads token ids, writes what the model predicts for each: F32 [batch, length, vocabulary], under \"logits\".",
        ""}, footer = {"", "Example:",
                "  opt-gptq eval logits models/my-llama --input ids.safetensors --output logits.safetensors --gradients g.safetensors",
                "", "Exit codes: 0 done, 1 failed, 2 wrong usage."})
final class EvalLogitsCommand implements Callable<Integer> {

    private final Console console;

    @Parameters(paramLabel = "MODEL_DIR", description = "The model to run, plain or quantized.")
    private Path model = Path.of("");

    @Option(names = "--input", required = true, paramLabel = "IDS", description = "A safetensors file with \"input_ids\" int64 [batch, length].")
    private Path input = Path.of("");

    @Option(names = "--output", required = true, paramLabel = "LOGITS", description = "The safetensors file to write.")
    private Path output = Path.of("");

    @Option(names = "--gradients", paramLabel = "GRADS", description = "A safetensors file to write too: \"loss\", the mean cross-entropy of the next token, and its gradient for every parameter, F32.")
    @Nullable
    private Path gradients;

    @Option(names = "--cast-buffers", description = "Round the rotary frequencies to the dtype of the weights too, as transformers' model.to(bfloat16) does in memory. A checkpoint that is loaded from disk keeps them in float32, as do perplexity and quantize.")
    private boolean castBuffers;

    @ArgGroup(validate = false, order = 2, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    EvalLogitsCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        ModelFiles.requireNoWeights(output);
        if (gradients != null) {
            ModelFiles.requireNoWeights(gradients);
        }
        try (JobProgress progress = console.progress();
                Device device = machine.open(progress::log);
                ModelDirectory directory = ModelDirectory.open(model)) {
            ModelSpec spec = castBuffers
                    ? ModelSpec.resolveAsCast(directory)
                    : ModelSpec.resolve(directory);
            Transformer transformer = Transformer.open(directory, spec, device);
            int vocabulary = transformer.spec().vocabSize();
            TokenSequences ids = InputIds.read(input, vocabulary);
            requirePositions(spec, ids.length(), progress);
            Logits.write(transformer, ids, output, progress);
            progress.log(
                    "wrote logits F32 [" + ids.count() + ", " + ids.length() + ", " + vocabulary + "] to " + output);
            if (gradients != null) {
                ParameterGradients.write(transformer, ids, gradients, progress);
                progress.log("wrote the loss and its gradient for every parameter to " + gradients);
            }
        }
        return ExitCode.DONE;
    }

    /** Learned positions end; others are computed for any token, but the model was not trained on them. */
    private void requirePositions(ModelSpec spec, int length, JobProgress progress) {
        EmbeddingSpec.Positions learned = spec.embedding().positions();
        if (learned != null && length > learned.rows() - learned.offset()) {
            throw new UserError(Code.BAD_TOKENIZER, input + ": expected sequences of at most "
                    + (learned.rows() - learned.offset()) + " tokens, the positions that the model has learned, found "
                    + length);
        }
        if (length > spec.maxPositions()) {
            progress.log(
                    "warning: sequences of " + length + " tokens, while config.json says that the model takes up to "
                            + spec.maxPositions());
        }
    }
}
