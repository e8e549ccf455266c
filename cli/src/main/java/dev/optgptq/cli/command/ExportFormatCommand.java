package dev.optgptq.cli.command;

import dev.optgptq.gptq.recipe.ModulePatterns;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.formats.exchange.FormatExport;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, description = {"",
        "Codes, scales and zero points go over as they are, and are read back and compared; a checkpoint that the format cannot hold "
                + "is refused. Reads and writes gptq, gptq_v2, compressed-tensors, awq, w8a8, mlx and slimquant. Everything else in "
                + "the directory goes along.",
        ""}, footer = {"", "Example:", "  opt-gptq export compressed-tensors out/w4 --output out/w4-ct", "",
                "Exit codes: 0 done, 1 failed, 2 wrong usage."})
final class ExportFormatCommand implements Callable<Integer> {

    private final Console console;
    private final CheckpointFormat format;

    @Parameters(paramLabel = "MODEL_DIR", description = "The quantized checkpoint.")
    private Path model = Path.of("");

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "The directory to write.")
    private Path output = Path.of("");

    @Option(names = "--overwrite", description = "Replace the directory if it exists.")
    private boolean overwrite;

    private ExportFormatCommand(Console console, CheckpointFormat format) {
        this.console = console;
        this.format = format;
    }

    static CommandLine of(Console console, CheckpointFormat format) {
        CommandLine command = new CommandLine(new ExportFormatCommand(console, format));
        command.getCommandSpec().usageMessage()
                .header("Write a quantized checkpoint as " + format + ", without quantizing again.");
        return command;
    }

    @Override
    public Integer call() {
        try (JobProgress progress = console.progress(); ModelDirectory directory = ModelDirectory.open(model)) {
            ModelSpec spec = ModelSpec.resolve(directory);
            FormatExport.Summary written = FormatExport.write(directory, format,
                    spec.plainModules(directory.tensors().values()),
                    ModulePatterns.of(spec, linear -> directory.packed(linear.module()).isEmpty()),
                    new Provenance(Version.TOOL + ":" + Version.number(), 0, false, false), output, overwrite);
            progress.log(
                    "wrote " + output + ": " + written.linears() + " layers, " + written.from() + " to " + written.to()
                            + ", " + difference(written));
        }
        return ExitCode.DONE;
    }

    private static String difference(FormatExport.Summary written) {
        String scales = written.scaleChange() == 0
                ? "code for code and scale for scale"
                : String.format(Locale.ROOT, "code for code; scales rounded to float16, by up to %.2g of their size",
                        written.scaleChange());
        return written.biasChange() == 0
                ? scales
                : scales + String.format(Locale.ROOT, "; biases rounded, by up to %.2g of a step",
                        written.biasChange());
    }
}
