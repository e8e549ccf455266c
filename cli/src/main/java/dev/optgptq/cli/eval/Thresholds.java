package dev.optgptq.cli.eval;

import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What a measurement is held to.
 *
 * @param maxPerplexity null for no such limit
 * @param maxIncrease null for no such limit; needs a baseline
 */
public record Thresholds(@Nullable Double maxPerplexity, @Nullable MaxIncrease maxIncrease) {

    List<Verdict> judge(Perplexity measured, @Nullable PerplexityComparison change) {
        List<Verdict> verdicts = new ArrayList<>();
        if (maxPerplexity != null) {
            verdicts.add(Verdict.of("max-perplexity", maxPerplexity, measured.perplexity(), String.format(Locale.ROOT,
                    "perplexity %.4f, at most %s allowed", measured.perplexity(), maxPerplexity)));
        }
        if (maxIncrease != null && change != null) {
            verdicts.add(increase(maxIncrease, change));
        }
        return verdicts;
    }

    private static Verdict increase(MaxIncrease limit, PerplexityComparison change) {
        String sentence = limit.relative()
                ? String.format(Locale.ROOT, "increase %.3f %% (95 %% interval %.3f to %.3f %%), at most %s allowed",
                        100 * change.increase(), 100 * change.increaseLow(), 100 * change.increaseHigh(), limit)
                : String.format(Locale.ROOT, "increase %.4f (95 %% interval %.4f to %.4f), at most %s allowed",
                        change.difference(), change.low(), change.high(), limit);
        return Verdict.of("max-increase", limit.amount(), limit.relative() ? change.increase() : change.difference(),
                sentence);
    }
}
