package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.cli.render.VerifyText;
import dev.optgptq.gptq.verify.Verification;
import dev.optgptq.gptq.verify.Verifier;
import dev.optgptq.kernels.DeviceGroup;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(name = "verify", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Check that a checkpoint is what it says it is.", description = {
        "",
        "files: shards complete, index true. tensors: every one there, with the shape, groups and zero points that config.json says. "
                + "scales: finite, none lost. weights (with --against): within a step of the original's. forward pass: finite, and "
                + "with --against close to the original's.",
        ""}, footer = {"", "Example:", "  opt-gptq verify out/w4 --against models/my-llama", "",
                "Exit codes: 0 all passed, 1 failed, 2 wrong usage, 3 a check missed."})
final class VerifyCommand implements Callable<Integer> {

    private final Console console;

    @Parameters(paramLabel = "MODEL_DIR", description = "The checkpoint, of any format.")
    private Path model = Path.of("");

    @Option(names = "--against", paramLabel = "MODEL_DIR", description = "The model that was quantized.")
    private @Nullable Path against;

    @Option(names = "--json", description = "Print it as JSON.")
    private boolean json;

    @ArgGroup(validate = false, order = 4, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    VerifyCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        Verification found;
        try (JobProgress progress = console.progress(); DeviceGroup devices = machine.openGroup(progress::log)) {
            found = Verifier.verify(model, against, devices.first(), progress);
        }
        console.print(json ? ReportJson.text(found) : VerifyText.of(found));
        return found.passed() ? ExitCode.DONE : ExitCode.THRESHOLD_MISSED;
    }
}
