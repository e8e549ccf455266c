package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.inspect.ModelSummary;
import dev.optgptq.cli.render.ModelText;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.model.ModelDirectory;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(name = "inspect", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Show what is in a model directory.", description = {
        "",
        "Family, sizes, heads, positions, KV cache, parameters, dtypes, quantization, and the tensors, one line for "
                + "all blocks. Reads only headers, so it is fast for any model size; also works for families that "
                + "cannot be quantized.",
        ""}, footer = {"", "Example:", "  opt-gptq inspect models/my-llama"})
final class InspectCommand implements Callable<Integer> {

    private final Console console;

    @Parameters(paramLabel = "MODEL_DIR", description = "Folder with config.json and *.safetensors.")
    private Path model = Path.of("");

    @Option(names = "--json", description = "Print it as JSON.")
    private boolean json;

    @Option(names = "--context", paramLabel = "N", description = "Tokens that the KV cache is counted for. Default: as many as "
            + "the model takes")
    private int context;

    InspectCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        Checks.atLeast(0, "--context", context);
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            ModelSummary summary = ModelSummary.of(directory, context);
            console.print(json ? ReportJson.text(summary) : ModelText.of(summary));
        }
        return ExitCode.DONE;
    }
}
