package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.ConvertText;
import dev.optgptq.cli.render.ReportFiles;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertReport;
import dev.optgptq.gptq.convert.ConvertRun;
import dev.optgptq.gptq.convert.ConvertSettings;
import dev.optgptq.formats.files.OutputTarget;
import dev.optgptq.gptq.settings.GivenSettings;
import dev.optgptq.gptq.settings.IdleSettings;
import dev.optgptq.gptq.settings.SettingSpec;
import dev.optgptq.gptq.settings.SettingsTable;
import dev.optgptq.gptq.settings.TextOptions;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "convert-gqa", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Convert multi-head attention to grouped-query attention.", description = {
        "",
        "Reads MODEL_DIR layer by layer, merges neighbouring key-value heads so that attention changes least on the calibration "
                + "text, fits the projections after attention to the original layer, writes a model that other tools "
                + "load, and measures the loss of quality. With --heal the converted model is then distilled from "
                + "the original.",
        ""}, footer = {"", "Examples:",
                "  # half the KV cache", "  opt-gptq convert-gqa models/my-llama", "",
                "  # one key-value head for all, calibrated on your own text",
                "  opt-gptq convert-gqa models/my-mpt --kv-heads 1 --calibration train.jsonl", "",
                "  # half the KV cache, heads where they matter",
                "  opt-gptq convert-gqa models/my-mpt --kv-bytes 50%%", "",
                "  # and trained towards the original",
                "  opt-gptq convert-gqa models/my-llama --ratio 4 --heal 1000 --text corpus.txt", "",
                "  # and with ALiBi in the place of rotary or learned positions",
                "  opt-gptq convert-gqa models/my-llama --positions alibi --heal 1000 --text corpus.txt", "",
                "Convert before you quantize. After an interruption, the same command resumes after the last "
                        + "finished layer and writes the same files.",
                "", "Exit codes: 0 done, 1 failed, 2 wrong usage."})
final class ConvertGqaCommand implements Callable<Integer> {

    private static final List<SettingSpec<?>> SETTINGS = List.of(TextOptions.TEXT, TextOptions.FIELD, TextOptions.BOS,
            TextOptions.PACK, SettingsTable.SAMPLING,
            SettingsTable.SAMPLES, SettingsTable.SEQUENCE_LENGTH, SettingsTable.SEED, SettingsTable.EVAL,
            SettingsTable.WINDOW);

    private final Console console;

    @Spec
    private CommandSpec spec = CommandSpec.create();

    @Parameters(paramLabel = "MODEL_DIR", description = "Folder with config.json, *.safetensors and tokenizer.json.")
    private Path model = Path.of("");

    @ArgGroup(validate = false, order = 1, heading = "%nOutput:%n")
    private OutputOptions output = new OutputOptions();

    @ArgGroup(validate = false, order = 2, heading = "%nHeads and positions:%n")
    private HeadOptions heads = new HeadOptions();

    @ArgGroup(validate = false, order = 6, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    @ArgGroup(validate = false, order = 3, heading = "%nHealing:%n")
    private HealOptions healing = new HealOptions();

    private ConvertGqaCommand(Console console) {
        this.console = console;
    }

    /** The command with its options; those of the settings table come between heads and machine. */
    static CommandLine of(Console console) {
        CommandLine command = new CommandLine(new ConvertGqaCommand(console));
        SettingOptions.addTo(command.getCommandSpec(), 4, SETTINGS);
        return command;
    }

    @Override
    public Integer call() {
        heads.check();
        ModelSpec form = form();
        GivenSettings given = SettingOptions.given(spec.commandLine().getParseResult(), form.maxPositions(), SETTINGS);
        ConvertSettings settings = settings(given, form);
        ReportFiles files = ReportFiles.at(output.report, settings.output());
        files.prepare(settings.output());
        ConvertReport report;
        try (JobProgress progress = console.progress(); Device device = machine.open(progress::log)) {
            IdleSettings.warnings(given, settings.texts()).forEach(progress::log);
            report = ConvertRun.run(settings, device, Version.TOOL + " " + Version.number(), progress, progress::log);
        }
        files.write(report);
        console.print(output.json ? ReportJson.text(report) : ConvertText.of(report, files));
        return ExitCode.DONE;
    }

    private ConvertSettings settings(GivenSettings given, ModelSpec form) {
        boolean learnedPositions = form.embedding().positions() != null
                && heads.positions == ConvertSettings.Positions.KEEP;
        ConvertSettings.Heal heal = healing.heal(form.maxPositions(), learnedPositions,
                given.get(SettingsTable.SEED));
        Path target = output.directory == null ? heads.outputBeside(model) : output.directory;
        Corpus text = TextOptions.calibration(given);
        ConvertSettings.Evaluation evaluation = SettingsTable.evaluates(given)
                ? new ConvertSettings.Evaluation(given.find(SettingsTable.EVAL), given.get(SettingsTable.WINDOW))
                : null;
        ConvertSettings settings = new ConvertSettings(model, target, heads.heads(), heads.grouping, heads.positions,
                heads.form,
                new ConvertSettings.Calibration(text, given.get(SettingsTable.SAMPLING),
                        given.get(SettingsTable.SAMPLES), given.get(SettingsTable.SEQUENCE_LENGTH),
                        given.get(SettingsTable.SEED)),
                heal, evaluation, output.overwrite, output.fresh, machine.threads(), heads.force);
        settings.texts().forEach(input -> OutputTarget.requireOutside(target, input));
        return settings;
    }

    private ModelSpec form() {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            return ModelSpec.resolve(directory);
        }
    }
}
