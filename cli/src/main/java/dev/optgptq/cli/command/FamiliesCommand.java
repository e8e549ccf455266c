package dev.optgptq.cli.command;

import dev.optgptq.calibrate.eval.GoldenCheck;
import dev.optgptq.calibrate.family.Families;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.FamiliesText;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(name = "families", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "List the model families that can be run and quantized.", description = {
        "",
        "Shows for each its model_type and architectures, what is special about it, and what config.json must say. "
                + "With --check, runs one tiny model and prints its distance from the output of another "
                + "implementation.",
        ""}, footer = {"", "Example:", "  opt-gptq families --check fixtures/my-family", "",
                "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 further away than --tolerance."})
final class FamiliesCommand implements Callable<Integer> {

    private final Console console;

    @Option(names = "--check", paramLabel = "DIR", description = "A model with golden.safetensors (input_ids, "
            + "logits) and optionally golden-gradients.safetensors.")
    @Nullable
    private Path check;

    @Option(names = "--tolerance", paramLabel = "X", description = "The largest difference that passes, as a share of each tensor's largest entry (default: ${DEFAULT-VALUE}).", defaultValue = "1e-4")
    private double tolerance;

    @Option(names = "--json", description = "Print as JSON.")
    private boolean json;

    @ArgGroup(validate = false, order = 2, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    /** As JSON. */
    private record Listing(List<Families.Summary> families) {}

    /** As JSON; a missing tensor has no distance. */
    private record Checked(String family, List<String> warnings, GoldenCheck.@Nullable Distance logits,
            List<GoldenCheck.Distance> gradients) {
        static Checked of(GoldenCheck.Found found) {
            return new Checked(found.spec().family(), found.spec().remarks(), found.logits().orElse(null),
                    found.gradients());
        }
    }

    FamiliesCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        if (check == null) {
            console.print(
                    json ? ReportJson.text(new Listing(Families.summaries())) : FamiliesText.of(Families.summaries()));
            return ExitCode.DONE;
        }
        GoldenCheck.Found found;
        try (JobProgress progress = console.progress(); Device device = machine.open(progress::log)) {
            found = new GoldenCheck(check, device).run(progress);
        }
        console.print(json ? ReportJson.text(Checked.of(found)) : FamiliesText.of(found, tolerance));
        return found.worst() <= tolerance ? ExitCode.DONE : ExitCode.THRESHOLD_MISSED;
    }
}
