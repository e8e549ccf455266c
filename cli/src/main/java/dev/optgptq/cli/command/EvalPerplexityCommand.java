package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.Bos;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentForm;
import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.gptq.settings.Windows;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.eval.MaxIncrease;
import dev.optgptq.cli.eval.PerplexityJob;
import dev.optgptq.cli.eval.PerplexityReport;
import dev.optgptq.cli.eval.Thresholds;
import dev.optgptq.cli.render.JUnitXml;
import dev.optgptq.cli.render.PerplexityText;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.cli.render.TextFile;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.ops.CacheType;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(name = "perplexity", mixinStandardHelpOptions = true, abbreviateSynopsis = true, sortOptions = false, header = "Measure perplexity; compare with a baseline; check thresholds.", description = {
        "",
        "Cuts the text into windows that don't overlap and prints exp of the mean cross-entropy, with a 95 %% confidence interval "
                + "over windows. With --baseline both models see the same windows in one pass: KL divergence and top-1 agreement "
                + "compare their predictions, and two paired tests say whether the difference in perplexity is more than chance.",
        ""}, footer = {"", "Examples:", "  opt-gptq eval perplexity out/w4 --text test.txt", "",
                "  # in continuous integration: fail when quality drops by more than 2 percent",
                "  opt-gptq eval perplexity out/w4 --text test.txt --baseline models/my-llama \\",
                "      --max-increase 2%% --max-kl 0.05 --min-top1 90%% --json ppl.json --junit ppl.xml", "",
                "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a threshold was missed."})
final class EvalPerplexityCommand implements Callable<Integer> {

    private final Console console;

    @Parameters(paramLabel = "MODEL_DIR", description = "The model to measure, plain or quantized.")
    private Path model = Path.of("");

    @Option(names = "--text", paramLabel = "FILE", description = "A .txt, .jsonl, .json or .parquet. Default: held-out WikiText-2, bundled")
    private @Nullable Path text;

    @Option(names = "--field", paramLabel = "NAME", defaultValue = "text", description = "Where records have their text: a column, or keys with dots between them. A list of messages there goes through the model's chat template. Default: ${DEFAULT-VALUE}")
    private String field = "text";

    @Option(names = "--bos", paramLabel = "WHEN", defaultValue = "auto", description = "Beginning-of-sequence tokens: auto (before each document, if the tokenizer puts one there by itself), always (at the start of each window) or never. Default: ${DEFAULT-VALUE}")
    private Bos bos = Bos.AUTO;

    @Option(names = "--window", paramLabel = "N", description = "Tokens per window. Default: 1024, or what the model takes")
    private @Nullable Integer window;

    @Option(names = "--baseline", paramLabel = "MODEL_DIR", description = "Another model with the same tokenizer, to compare with; both run in one pass.")
    private @Nullable Path baseline;

    @Option(names = "--cache", paramLabel = "TYPE", converter = CacheTypeConverter.class, description = "Compute each window in parts, with keys and values in a cache of this type, as generate does: float32, float16, bfloat16, int8 or int4. Default: no cache")
    private @Nullable CacheType cache;

    @ArgGroup(validate = false, order = 2, heading = "%nThresholds:%n")
    private ThresholdOptions thresholds = new ThresholdOptions();

    @ArgGroup(validate = false, order = 3, heading = "%nOutput:%n")
    private Files files = new Files();

    @ArgGroup(validate = false, order = 4, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    /** Thresholds; missing one gives exit code 3. */
    static final class ThresholdOptions {
        @Option(names = "--max-perplexity", paramLabel = "X", description = "Highest perplexity allowed.")
        @Nullable
        Double maxPerplexity;

        @Option(names = "--max-increase", paramLabel = "X", converter = MaxIncreaseConverter.class, description = {
                "Largest increase over the baseline allowed: 2%% relative, or 0.5 absolute."})
        @Nullable
        MaxIncrease maxIncrease;

        @Option(names = "--max-kl", paramLabel = "X", description = "Largest mean KL divergence from the baseline's "
                + "predictions allowed, in nats per token.")
        @Nullable
        Double maxKl;

        @Option(names = "--min-top1", paramLabel = "X", converter = ShareConverter.class, description = "Smallest "
                + "top-1 agreement with the baseline allowed: 98%% or 0.98.")
        @Nullable
        Double minTop1;

        private Thresholds checked(boolean compared) {
            SettingChecks.require(maxPerplexity == null || (maxPerplexity > 0 && Double.isFinite(maxPerplexity)),
                    "--max-perplexity", String.valueOf(maxPerplexity), "a perplexity, such as 12.5");
            SettingChecks.require(maxKl == null || (maxKl >= 0 && Double.isFinite(maxKl)), "--max-kl",
                    String.valueOf(maxKl),
                    "nats per token, such as 0.05");
            requireBaseline("--max-increase", maxIncrease, compared);
            requireBaseline("--max-kl", maxKl, compared);
            requireBaseline("--min-top1", minTop1, compared);
            return new Thresholds(maxPerplexity, maxIncrease, maxKl, minTop1);
        }

        private static void requireBaseline(String option, @Nullable Object limit, boolean compared) {
            SettingChecks.require(limit == null || compared, option, "no --baseline",
                    "a --baseline MODEL_DIR to compare with");
        }
    }

    /** Files to write besides the printed text. */
    static final class Files {
        @Option(names = "--json", paramLabel = "FILE", description = "Write all numbers as JSON; - for standard output.")
        @Nullable
        Path json;

        @Option(names = "--junit", paramLabel = "FILE", description = "Write a JUnit XML file with one test case per threshold.")
        @Nullable
        Path junit;
    }

    EvalPerplexityCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        Thresholds limits = thresholds.checked(baseline != null);
        SettingChecks.require(cache == null || baseline == null, "--cache", "--baseline",
                "no --baseline: evaluate the model with and without --cache instead");
        TextFile.prepare(files.json);
        TextFile.prepare(files.junit);
        PerplexityReport report;
        try (JobProgress progress = console.progress(); DeviceGroup devices = machine.openGroup(progress::log)) {
            PerplexityJob job = new PerplexityJob(Version.TOOL + " " + Version.number(), devices, texts(), cache,
                    progress,
                    progress::log, maxPositions -> Windows.of(window, maxPositions));
            report = job.run(model, baseline, limits);
        }
        write(report);
        return report.passed() ? ExitCode.DONE : ExitCode.THRESHOLD_MISSED;
    }

    private Corpus texts() {
        return Corpus.of(text, Corpus.Bundled.EVALUATION, new DocumentForm(field, bos, false));
    }

    private void write(PerplexityReport report) {
        boolean jsonToOut = files.json != null && files.json.toString().equals("-");
        if (files.json != null && !jsonToOut) {
            TextFile.write(files.json, ReportJson.text(report));
        }
        if (files.junit != null) {
            TextFile.write(files.junit, JUnitXml.of(report));
        }
        console.print(jsonToOut ? ReportJson.text(report) : PerplexityText.of(report));
    }
}
