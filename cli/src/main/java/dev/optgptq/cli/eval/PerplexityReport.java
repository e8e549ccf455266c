package dev.optgptq.cli.eval;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Result of eval perplexity: the JSON it writes (docs/report.md, schema version 1).
 *
 * @param tool name and version of this program
 * @param text what was evaluated
 * @param window tokens per window
 * @param windows how many
 * @param baseline null without --baseline
 * @param change of perplexity; null without --baseline
 * @param difference of mean cross-entropy, tested; null without --baseline
 * @param divergence of the predictions from the baseline's; null without --baseline
 */
public record PerplexityReport(int schemaVersion, String tool, String device, String text, int window, int windows,
        Measurement model, @Nullable Measurement baseline, @Nullable PerplexityComparison change,
        @Nullable Difference difference, @Nullable Divergence divergence, List<Verdict> thresholds) {

    /**
     * One model's perplexity.
     *
     * @param path as given
     * @param meanNll nats per token
     * @param low lower end of the 95 % confidence interval of the perplexity
     * @param seconds its share of the wall time
     */
    public record Measurement(String path, double perplexity, double low, double high, double meanNll, double seconds) {

        static Measurement of(String path, Perplexity measured) {
            return new Measurement(path, measured.perplexity(), measured.low(), measured.high(), measured.meanNll(),
                    measured.seconds());
        }
    }

    /** Whether every threshold was kept. */
    public boolean passed() {
        return thresholds.stream().allMatch(Verdict::passed);
    }
}
