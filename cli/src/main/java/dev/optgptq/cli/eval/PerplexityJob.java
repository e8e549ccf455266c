package dev.optgptq.cli.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.BundledText;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.cli.eval.PerplexityReport.Measurement;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Measures one model, or two on the same windows.
 *
 * @param tool name and version, for the report
 * @param text null for the bundled one
 * @param window tokens per window, from the most positions that every model takes
 */
public record PerplexityJob(String tool, Device device, @Nullable Path text, Progress progress,
        IntUnaryOperator window) {

    private static final String BUNDLED = "bundled WikiText-2";

    /** Throws UserError when a model or the text cannot be used, or when the models' tokens differ. */
    public PerplexityReport run(Path model, @Nullable Path baseline, Thresholds thresholds) {
        int length = window
                .applyAsInt(baseline == null ? positions(model) : Math.min(positions(model), positions(baseline)));
        TokenSequences tokens = tokens(model, length);
        int models = baseline == null ? 1 : 2;
        Perplexity before = null;
        if (baseline != null) {
            requireSameTokens(model, tokens, baseline, tokens(baseline, length));
            before = measure(baseline, tokens, part("baseline", 0, models));
        }
        Perplexity after = measure(model, tokens, part("model", models - 1, models));
        PerplexityComparison change = before == null ? null : PerplexityComparison.of(before, after);
        return new PerplexityReport(1, tool, device.name(), text == null ? BUNDLED : text.toString(), length,
                tokens.count(), Measurement.of(model.toString(), after),
                before == null ? null : Measurement.of(String.valueOf(baseline), before), change,
                thresholds.judge(after, change));
    }

    private static int positions(Path model) {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            return ModelSpec.resolve(directory.config()).maxPositions();
        }
    }

    private TokenSequences tokens(Path model, int length) {
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            return text == null
                    ? TokenSequences.windows(BundledText.evaluation(), "the bundled text", tokenizer, length)
                    : TokenSequences.windows(text, tokenizer, length);
        }
    }

    /** Perplexity is per token: over different tokens, two of them say nothing about each other. */
    private static void requireSameTokens(Path model, TokenSequences tokens, Path baseline, TokenSequences others) {
        if (!Arrays.equals(tokens.ids(), others.ids())) {
            throw new UserError(Code.BAD_SETTING, "--baseline: expected a model with the tokenizer of " + model
                    + ", found that " + baseline + " cuts the text into other tokens, so their perplexities cannot be "
                    + "compared");
        }
    }

    private Perplexity measure(Path model, TokenSequences tokens, Progress part) {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            return Perplexity.evaluate(Transformer.open(directory, device), tokens, part);
        }
    }

    /** The share of the whole job that one model is. */
    private Progress part(String name, int index, int models) {
        return (phase, done, total) -> progress.at(models == 1 ? phase : name + ": " + phase, index * total + done,
                models * total);
    }
}
