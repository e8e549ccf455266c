package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.console.Units;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.gguf.GgufExport;
import dev.optgptq.formats.model.ModelDirectory;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(name = "gguf", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Write a checkpoint as a GGUF file for llama.cpp.", description = {
        "",
        "Codes and scales of a quantized checkpoint go over as they are: symmetric grids of up to 4 bits as Q4_0 and of 8 bits as "
                + "Q8_0, bit for bit; asymmetric grids of up to 4 bits as Q4_1, off by less than 0.0074 of a step. Everything else becomes "
                + "F16, vectors F32. Families: docs/gguf.md lists them; tokenizers: byte-level BPE, and SentencePiece's BPE.",
        ""}, footer = {"", "Example:", "  opt-gptq export gguf out/w4 --output w4.gguf", "",
                "Exit codes: 0 done, 1 failed, 2 wrong usage."})
final class ExportGgufCommand implements Callable<Integer> {

    private final Console console;

    @Parameters(paramLabel = "MODEL_DIR", description = "The checkpoint, quantized or plain.")
    private Path model = Path.of("");

    @Option(names = "--output", required = true, paramLabel = "FILE", description = "The file to write.")
    private Path output = Path.of("");

    @Option(names = "--overwrite", description = "Replace the file if it exists.")
    private boolean overwrite;

    ExportGgufCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        if (Files.exists(output, LinkOption.NOFOLLOW_LINKS) && (!overwrite || !Files.isRegularFile(output))) {
            throw new UserError(Code.OUTPUT, output + ": expected nothing there, found "
                    + (Files.isRegularFile(output)
                            ? "a file; choose another name, or replace it with --overwrite"
                            : "something that is not a file; choose another name"));
        }
        try (JobProgress progress = console.progress(); ModelDirectory directory = ModelDirectory.open(model)) {
            OutputFiles.createDirectories(output.toAbsolutePath().resolveSibling("."));
            GgufExport.Summary written = GgufExport.write(directory, output);
            progress.log("wrote " + output + ": " + written.architecture() + ", " + written.tensors() + ", "
                    + Units.bytes(written.bytes()));
        }
        return ExitCode.DONE;
    }
}
