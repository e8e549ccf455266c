package dev.optgptq.cli.command;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.QuantizationConfig;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

@Command(name = "inspect", mixinStandardHelpOptions = true, description = "Shows what is in a model directory: family, "
        + "tensors, dtypes, sizes, quantization. Works for every safetensors model, also for families that cannot be run.")
final class InspectCommand implements Runnable {

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private OptGptq root;

    @Parameters(paramLabel = "MODEL_DIR", description = "a Hugging Face model directory")
    @SuppressWarnings("NullAway.Init") // required
    private Path model;

    @Option(names = "--json", description = "print JSON")
    private boolean json;

    record Inspection(String path, String modelType, @Nullable QuantizationConfig quantization, long elements, long bytes,
            List<TensorLine> tensors) {
    }

    record TensorLine(String name, String dtype, List<Long> shape, long bytes) {
    }

    @Override
    public void run() {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            Inspection inspection = inspect(directory);
            root.console().out().print(json ? ReportJson.text(inspection) : text(inspection));
            root.console().out().flush();
        }
    }

    private static Inspection inspect(ModelDirectory directory) {
        List<TensorLine> lines = directory.tensors().values().stream().map(view -> new TensorLine(view.name(),
                view.dtype().name(), view.shape().dimensions(), view.data().byteSize())).toList();
        long elements = directory.tensors().values().stream().mapToLong(view -> view.shape().elements()).sum();
        return new Inspection(directory.path().toString(), directory.config().text("model_type"),
                directory.quantization().orElse(null), elements, lines.stream().mapToLong(TensorLine::bytes).sum(), lines);
    }

    private static String text(Inspection inspection) {
        TextTable table = TextTable.of("tensor", "dtype", "shape", "size");
        inspection.tensors().forEach(line -> table.row(line.name(), line.dtype(), line.shape().toString(),
                Units.bytes(line.bytes())));
        QuantizationConfig quantization = inspection.quantization();
        return table.text("") + "\n" + inspection.path() + ": " + inspection.modelType() + ", "
                + Units.count(inspection.elements()) + " stored elements, " + Units.bytes(inspection.bytes()) + ", "
                + (quantization == null
                        ? "not quantized"
                        : quantization.bits() + " bits, group size " + quantization.groupSize() + ", "
                                + (quantization.symmetric() ? "symmetric, " : "asymmetric, ") + quantization.format().label())
                + "\n";
    }
}
