package dev.optgptq.cli.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentTokens;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.generate.CachedPerplexity;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.cli.eval.PerplexityReport.Measurement;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.ops.CacheType;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.function.IntUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Measures one model, or two on the same windows.
 *
 * @param tool name and version, for the report
 * @param text where it is, and how it becomes tokens
 * @param cache type of the key-value cache; null for none
 * @param log receives what the job needs, line by line
 * @param window tokens per window, from the largest number of positions that all models support
 */
public record PerplexityJob(String tool, DeviceGroup devices, Corpus text, @Nullable CacheType cache,
        Progress progress,
        Consumer<String> log, IntUnaryOperator window) {

    private static final String BUNDLED = "bundled WikiText-2";

    /**
     * Throws UserError when a model or the text cannot be used, when the models' tokens differ, or, before anything is
     * computed, when there is too little memory.
     */
    public PerplexityReport run(Path model, @Nullable Path baseline, Thresholds thresholds) {
        return baseline == null ? measure(model, thresholds) : compare(model, baseline, thresholds);
    }

    private PerplexityReport measure(Path model, Thresholds thresholds) {
        TokenSequences tokens = tokens(model, window.applyAsInt(positions(model)));
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            Transformer transformer = Transformer.open(directory, devices.first());
            Perplexity found = cache == null ? evaluate(transformer, tokens) : throughCache(transformer, cache, tokens);
            return new PerplexityReport(1, tool, devices.name(), textName(), tokens.length(), tokens.count(),
                    Measurement.of(model.toString(), found), null, null, null, null, thresholds.judge(found, null));
        }
    }

    private Perplexity evaluate(Transformer model, TokenSequences tokens) {
        requireMemory(1, Perplexity.peakBytes(model.spec(), tokens.count(), tokens.length()));
        return Perplexity.evaluate(onAll(model), tokens, progress);
    }

    private Perplexity throughCache(Transformer model, CacheType type, TokenSequences tokens) {
        requireMemory(1, CachedPerplexity.peakBytes(model, type, tokens));
        return CachedPerplexity.evaluate(model, type, tokens, progress);
    }

    /** Both in one pass. */
    private PerplexityReport compare(Path model, Path baseline, Thresholds thresholds) {
        int length = window.applyAsInt(Math.min(positions(model), positions(baseline)));
        TokenSequences tokens = tokens(model, length);
        requireSameTokens(model, tokens, baseline, tokens(baseline, length));
        try (ModelDirectory before = ModelDirectory.open(baseline); ModelDirectory after = ModelDirectory.open(model)) {
            Transformer old = Transformer.open(before, devices.first());
            Transformer changed = Transformer.open(after, devices.first());
            requireMemory(2, ModelComparison.peakBytes(old.spec(), changed.spec(), tokens.count(), length));
            ModelComparison found = ModelComparison.evaluate(onAll(old), onAll(changed), tokens, progress);
            return new PerplexityReport(1, tool, devices.name(), textName(), length, tokens.count(),
                    Measurement.of(model.toString(), found.candidate()),
                    Measurement.of(baseline.toString(), found.baseline()), found.change(), Difference.of(found.test()),
                    found.divergence(), thresholds.judge(found.candidate(), found));
        }
    }

    private Replicas onAll(Transformer model) {
        return Replicas.of(model, devices.devices());
    }

    private String textName() {
        return (text.isBundled() ? BUNDLED : text.toString())
                + (cache == null ? "" : ", through a cache of " + cache.word());
    }

    private void requireMemory(int models, long bytes) {
        log.accept("memory: about " + (bytes >> 20) + " MiB needed on the device");
        MemoryNeed.requireToEvaluate(devices.devices(), bytes, models);
    }

    private static int positions(Path model) {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            return ModelSpec.resolve(directory).maxPositions();
        }
    }

    private TokenSequences tokens(Path model, int length) {
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            return text.windows(DocumentTokens.of(model, tokenizer, text.form()), length);
        }
    }

    /** Perplexity is per token: with different tokenizers two perplexities cannot be compared. */
    private static void requireSameTokens(Path model, TokenSequences tokens, Path baseline, TokenSequences others) {
        if (!Arrays.equals(tokens.ids(), others.ids())) {
            throw new UserError(Code.BAD_SETTING, "--baseline: expected a model with the tokenizer of " + model
                    + ", found that " + baseline + " splits the text into other tokens, so their perplexities cannot "
                    + "be compared");
        }
    }
}
