package dev.optgptq.cli.command;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.ReportFiles;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.cli.render.SummaryText;
import dev.optgptq.formats.files.OutputTarget;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.QuantizeRun;
import dev.optgptq.gptq.settings.GivenSettings;
import dev.optgptq.gptq.settings.IdleSettings;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.OutputSettings;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.ranks.Ranks;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine;

@Command(name = "quantize", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Quantize a model with GPTQ.", description = {
        "",
        "Quantizes the linear layers of MODEL_DIR block by block, writes a checkpoint, reads it back, and compares it with the "
                + "original: KL divergence, top-1 agreement, perplexity. Only MODEL_DIR is needed; the run prints the defaults it uses.",
        ""}, footer = {"", "Examples:", "  # 4 bits, groups of 128, bundled calibration text",
                "  opt-gptq quantize models/my-llama", "",
                "  # a first look",
                "  opt-gptq quantize models/my-llama --quick", "",
                "  # your own calibration and evaluation text",
                "  opt-gptq quantize models/my-llama --output out/w4 --calibration train.jsonl --eval test.txt", "",
                "  # 2 bits, with learned rounding and scales",
                "  opt-gptq quantize models/my-llama --bits 2 --group-size 64 --tune 100", "",
                "  # on all AMD GPUs or DCUs of this machine; the files are the same as with one",
                "  opt-gptq quantize models/my-llama --device hip:all", "",
                "  # on the GPUs of four nodes (mpirun as well); the files are the same",
                "  srun -K --mpi=pmix -N4 --ntasks-per-node=1 opt-gptq quantize models/my-llama --device hip:all", "",
                "Time: about seven forward passes over the calibration tokens (two with --calibrator gptq), and one of each model over "
                        + "the evaluation text; the run says beforehand what it will do. Memory: one block of weights in float32, all "
                        + "of them during the gradient pass if they fit, and the activations, which go to a temporary file when "
                        + "they don't.",
                "",
                "After an interruption (Ctrl-C, a crash, a full disk, a lost GPU), the same command resumes after the last finished "
                        + "block and writes the same files.",
                "", "Exit codes: 0 done, 1 failed, 2 wrong usage."})
final class QuantizeCommand implements Callable<Integer> {

    private final Console console;

    @Spec
    private CommandSpec spec = CommandSpec.create();

    @Parameters(paramLabel = "MODEL_DIR", description = "Folder with config.json, *.safetensors and tokenizer.json.")
    private Path model = Path.of("");

    @Option(names = "--quick", description = "Plain GPTQ with scale search on 32 calibration sequences, a few times faster than the "
            + "default: --calibrator gptq --scale-search --samples 32, where these are not given.")
    private boolean quick;

    @ArgGroup(validate = false, order = 1, heading = "%nOutput:%n")
    private OutputOptions output = new OutputOptions();

    @ArgGroup(validate = false, order = 7, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    @ArgGroup(validate = false, order = 7, heading = "%nSeveral processes:%n")
    private RankOptions ranks = new RankOptions();

    private QuantizeCommand(Console console) {
        this.console = console;
    }

    /** The command with its options; those of the settings table come between output and machine. */
    static CommandLine of(Console console) {
        CommandLine command = new CommandLine(new QuantizeCommand(console));
        SettingOptions.addTo(command.getCommandSpec(), 2);
        return command;
    }

    @Override
    public Integer call() {
        return ranks.run(console, this::quantize);
    }

    private int quantize(Console talking, JobProgress progress, Ranks rank) {
        GivenSettings given = SettingOptions.given(spec.commandLine().getParseResult(), maxPositions(), quick);
        Path target = output.directory == null ? OutputName.beside(model, given) : output.directory;
        QuantizeSettings settings = QuantizeSettings.of(model, given,
                new OutputSettings(target, output.overwrite, output.fresh), machine.threads());
        TakenDefaults defaults = TakenDefaults.of(spec.commandLine().getParseResult(), settings);
        Origin origin = new Origin(Version.TOOL, Version.number(), defaults.options());
        if (!rank.isFirst()) {
            try (DeviceGroup devices = machine.openGroup(progress::log).among(rank)) {
                QuantizeRun.follow(settings, devices, origin, progress, progress::log);
            }
            return ExitCode.DONE;
        }
        Stream.of(settings.calibration().text(), settings.evaluation().text()).flatMap(text -> text.paths().stream())
                .forEach(input -> OutputTarget.requireOutside(target, input));
        ReportFiles files = ReportFiles.at(output.report, target);
        files.prepare(target);
        RunReport report;
        try (DeviceGroup devices = machine.openGroup(progress::log).among(rank)) {
            IdleSettings.warnings(given, settings).forEach(progress::log);
            progress.log(defaults.sentence());
            report = QuantizeRun.run(settings, devices, origin, progress, progress::log);
        }
        files.write(report);
        progress.close();
        talking.print(output.json ? ReportJson.text(report) : SummaryText.of(report, files));
        return ExitCode.DONE;
    }

    private int maxPositions() {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            return ModelSpec.resolve(directory).maxPositions();
        }
    }
}
