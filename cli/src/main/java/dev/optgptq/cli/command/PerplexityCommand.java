package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.BundledText;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.JUnitXml;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.kernels.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

@Command(name = "perplexity", mixinStandardHelpOptions = true, sortOptions = false, usageHelpAutoWidth = true, description = {
        "Perplexity over non-overlapping windows of a text, with its 95 % confidence interval.",
        "With thresholds it is a check for continuous integration: exit code 3 when one is missed."})
final class PerplexityCommand implements Callable<Integer> {

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before call()
    private EvalCommand parent;

    @Parameters(paramLabel = "MODEL_DIR", description = "a model directory, plain or quantized")
    @SuppressWarnings("NullAway.Init") // required
    private Path model;

    @Option(names = "--text", paramLabel = "FILE", description = "the text (default: bundled WikiText-2 test text)")
    private @Nullable Path text;

    @Option(names = "--window", paramLabel = "N", defaultValue = "1024", description = "tokens per window (default: 1024)")
    private int window;

    @Option(names = "--baseline", paramLabel = "MODEL_DIR", description = "the model to compare with, on the same windows")
    private @Nullable Path baseline;

    @Option(names = "--max-increase", paramLabel = "X|X%", description = "largest increase over the baseline that passes: "
            + "2%% of it, or 0.5 in perplexity")
    private @Nullable String maxIncrease;

    @Option(names = "--max-perplexity", paramLabel = "X", description = "largest perplexity that passes")
    private @Nullable Double maxPerplexity;

    @Option(names = "--json", paramLabel = "FILE", description = "write the figures as JSON")
    private @Nullable Path json;

    @Option(names = "--junit", paramLabel = "FILE", description = "write the thresholds as a JUnit XML report")
    private @Nullable Path junit;

    @Mixin
    private final DeviceOptions device = new DeviceOptions();

    record Result(String model, Perplexity perplexity, @Nullable String baseline, @Nullable Perplexity baselinePerplexity,
            @Nullable PerplexityComparison comparison, List<Threshold> thresholds) {
    }

    @Override
    public Integer call() {
        if (window < 2) {
            throw new UserError(UserError.Code.BAD_SETTING, "--window must be at least 2");
        }
        if (maxIncrease != null && baseline == null) {
            throw new UserError(UserError.Code.BAD_SETTING, "--max-increase needs a --baseline to compare with");
        }
        Result result = measure();
        writeFiles(result);
        parent.root().console().out().print(summary(result));
        parent.root().console().out().flush();
        return result.thresholds().stream().allMatch(Threshold::met) ? OptGptq.DONE : OptGptq.THRESHOLD_MISSED;
    }

    private Result measure() {
        try (JobProgress progress = parent.root().console().progress(); Device opened = device.open()) {
            Perplexity perplexity = evaluate(model, opened, progress);
            Perplexity base = baseline == null ? null : evaluate(baseline, opened, progress);
            if (base != null && base.windowNll().length != perplexity.windowNll().length) {
                throw new UserError(UserError.Code.BAD_TOKENIZER, "the baseline's tokenizer cuts the text into other "
                        + "windows; perplexities of different tokenizers cannot be compared");
            }
            PerplexityComparison comparison = base == null ? null : PerplexityComparison.of(base, perplexity);
            return new Result(model.toString(), perplexity, baseline == null ? null : baseline.toString(), base, comparison,
                    thresholds(perplexity, base));
        }
    }

    private Perplexity evaluate(Path directory, Device opened, JobProgress progress) {
        try (ModelDirectory source = ModelDirectory.open(directory); Tokenizer tokenizer = Tokenizer.load(directory)) {
            Transformer transformer = Transformer.open(source, opened);
            TokenSequences windows = text == null
                    ? TokenSequences.windows(BundledText.evaluation(), "the bundled evaluation text", tokenizer,
                            window)
                    : TokenSequences.windows(text, tokenizer, window);
            windows.requireVocabulary(transformer.spec().vocabSize());
            return Perplexity.evaluate(transformer, windows, progress);
        }
    }

    private List<Threshold> thresholds(Perplexity perplexity, @Nullable Perplexity base) {
        List<Threshold> thresholds = new ArrayList<>();
        if (maxPerplexity != null) {
            thresholds.add(new Threshold("perplexity at most " + maxPerplexity, perplexity.perplexity(), maxPerplexity));
        }
        if (maxIncrease != null && base != null) {
            thresholds.add(new Threshold("perplexity increase at most " + maxIncrease,
                    perplexity.perplexity() - base.perplexity(), Threshold.increase(maxIncrease, base.perplexity())));
        }
        return thresholds;
    }

    private void writeFiles(Result result) {
        try {
            if (json != null) {
                write(json, ReportJson.text(result));
            }
            if (junit != null) {
                write(junit, JUnitXml.of("opt-gptq eval perplexity " + result.model(), result.thresholds(),
                        result.perplexity().seconds()));
            }
        } catch (IOException e) {
            throw new UserError(UserError.Code.OUTPUT, "could not write " + e.getMessage(), e);
        }
    }

    private static void write(Path file, String content) throws IOException {
        Path parent = file.toAbsolutePath().getParent();
        if (parent != null) {
            Files.createDirectories(parent);
        }
        Files.writeString(file, content);
    }

    private static String summary(Result result) {
        StringBuilder text = new StringBuilder(line(result.model(), result.perplexity()));
        if (result.baseline() != null && result.baselinePerplexity() != null && result.comparison() != null) {
            text.append(line(result.baseline(), result.baselinePerplexity()));
            text.append(String.format(Locale.ROOT, "increase %.4f (%.2f %%), 95 %% between %.4f and %.4f, paired over windows%n",
                    result.comparison().difference(), 100 * result.comparison().increase(), result.comparison().low(),
                    result.comparison().high()));
        }
        result.thresholds().forEach(threshold -> text.append(String.format(Locale.ROOT, "%s: %s (found %.4f, limit %.4f)%n",
                threshold.met() ? "passed" : "MISSED", threshold.name(), threshold.found(), threshold.limit())));
        return text.toString();
    }

    private static String line(String model, Perplexity p) {
        return String.format(Locale.ROOT, "%s: perplexity %.4f, 95 %% between %.4f and %.4f (%d windows of %d tokens, %.1f s)%n",
                model, p.perplexity(), p.low(), p.high(), p.windowNll().length, p.window(), p.seconds());
    }
}
