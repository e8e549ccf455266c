package dev.optgptq.cli.command;

import dev.optgptq.calibrate.eval.GoldenCheck;
import dev.optgptq.calibrate.family.Families;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.FamiliesText;
import dev.optgptq.cli.render.FolderCheck;
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
                + "With --check, runs tiny models and prints the distance of each from the output of another "
                + "implementation. Of several folders, one that fails does not keep the others from being checked.",
        ""}, footer = {"", "Example:", "  opt-gptq families --check fixtures/my-family", "",
                "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 further away than --tolerance."})
final class FamiliesCommand implements Callable<Integer> {

    private final Console console;

    @Option(names = "--check", arity = "1..*", paramLabel = "DIR", description = "Models with golden.safetensors "
            + "(input_ids, logits) and optionally golden-gradients.safetensors.")
    private List<Path> check = List.of();

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

    /** As JSON, of several folders. */
    private record Checks(List<FolderChecked> checks) {}

    /** @param error why there is no check */
    private record FolderChecked(String folder, @Nullable String error, @Nullable Checked check) {
        static FolderChecked of(FolderCheck result) {
            return new FolderChecked(result.folder().toString(), result.error(),
                    result.found() == null ? null : Checked.of(result.found()));
        }
    }

    FamiliesCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        if (check.isEmpty()) {
            console.print(
                    json ? ReportJson.text(new Listing(Families.summaries())) : FamiliesText.of(Families.summaries()));
            return ExitCode.DONE;
        }
        List<FolderCheck> results = results();
        GoldenCheck.Found alone = results.size() == 1 ? results.getFirst().found() : null;
        if (alone != null) {
            console.print(json ? ReportJson.text(Checked.of(alone)) : FamiliesText.of(alone, tolerance));
        } else {
            console.print(json
                    ? ReportJson.text(new Checks(results.stream().map(FolderChecked::of).toList()))
                    : FamiliesText.ofFolders(results, tolerance));
        }
        if (results.stream().anyMatch(result -> result.found() == null)) {
            return ExitCode.FAILED;
        }
        return results.stream().allMatch(result -> result.agrees(tolerance))
                ? ExitCode.DONE
                : ExitCode.THRESHOLD_MISSED;
    }

    /** The failure of a folder that was asked for alone is the command's. */
    private List<FolderCheck> results() {
        try (JobProgress progress = console.progress(); Device device = machine.open(progress::log)) {
            return check.size() == 1
                    ? List.of(FolderCheck.of(check.getFirst(), device, progress))
                    : check.stream().map(folder -> FolderCheck.tried(folder, device, progress)).toList();
        }
    }
}
