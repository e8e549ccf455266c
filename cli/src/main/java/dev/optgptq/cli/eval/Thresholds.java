package dev.optgptq.cli.eval;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * The limits of a measurement; null for none. All but the first need a baseline.
 *
 * @param maxKl of the mean divergence, nats per token
 * @param minTop1 of the share of predictions that agree, from 0 to 1
 */
public record Thresholds(@Nullable Double maxPerplexity, @Nullable MaxIncrease maxIncrease, @Nullable Double maxKl,
        @Nullable Double minTop1) {

    List<Verdict> judge(Perplexity measured, @Nullable ModelComparison comparison) {
        List<Verdict> verdicts = new ArrayList<>();
        if (maxPerplexity != null) {
            verdicts.add(Verdict.atMost("max-perplexity", maxPerplexity, measured.perplexity(),
                    String.format(Locale.ROOT, "perplexity %.4f, at most %s allowed", measured.perplexity(),
                            maxPerplexity)));
        }
        if (maxIncrease != null && comparison != null) {
            verdicts.add(increase(maxIncrease, comparison.change()));
        }
        if (maxKl != null && comparison != null) {
            verdicts.add(divergence(maxKl, comparison.divergence()));
        }
        if (minTop1 != null && comparison != null) {
            verdicts.add(agreement(minTop1, comparison.divergence()));
        }
        return verdicts;
    }

    private static Verdict divergence(double limit, Divergence found) {
        return Verdict.atMost("max-kl", limit, found.kl(),
                String.format(Locale.ROOT, "divergence %.5f nats (95 %% interval %.5f to %.5f), at most %s allowed",
                        found.kl(), found.klLow(), found.klHigh(), limit));
    }

    private static Verdict agreement(double limit, Divergence found) {
        return Verdict.atLeast("min-top1", limit, found.top1(), String.format(Locale.ROOT,
                "agreement %.3f %% (95 %% interval %.3f to %.3f %%), at least %s %% required", 100 * found.top1(),
                100 * found.top1Low(), 100 * found.top1High(), MaxIncrease.digits(100 * limit)));
    }

    private static Verdict increase(MaxIncrease limit, PerplexityComparison change) {
        String sentence = limit.relative()
                ? String.format(Locale.ROOT, "increase %.3f %% (95 %% interval %.3f to %.3f %%), at most %s allowed",
                        100 * change.increase(), 100 * change.increaseLow(), 100 * change.increaseHigh(), limit)
                : String.format(Locale.ROOT, "increase %.4f (95 %% interval %.4f to %.4f), at most %s allowed",
                        change.difference(), change.low(), change.high(), limit);
        return Verdict.atMost("max-increase", limit.amount(),
                limit.relative() ? change.increase() : change.difference(),
                sentence);
    }
}
