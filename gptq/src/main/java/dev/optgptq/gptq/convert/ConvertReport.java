package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.gptq.convert.fit.Fit;
import java.util.List;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/**
 * Results and costs of a conversion: the data of report.json. Docs: docs/convert.md.
 *
 * @param schemaVersion 1
 * @param tool name and version of this program
 * @param started ISO-8601, UTC
 * @param command the settings, by the names of the command line's options
 * @param positions null where they stayed
 * @param budget null where all layers have one number of key-value heads
 * @param healed null without training
 * @param quality null without evaluation
 * @param seconds wall time
 * @param phases it was spent in; blocks that an earlier run finished take none
 */
public record ConvertReport(int schemaVersion, String tool, String started, SequencedMap<String, String> command,
        Model model, @Nullable Positions positions, @Nullable Budget budget, List<Layer> layers, Cache cache,
        @Nullable Healed healed,
        @Nullable Quality quality, double seconds, List<Phase> phases, List<String> warnings) {

    /** @param seconds wall time */
    public record Phase(String name, double seconds) {}

    /** @param path the model directory as it was given */
    public record Model(String path, String output, String family, int blocks, int hiddenSize, int heads, int headDim,
            String device) {}

    /**
     * How positions became ALiBi.
     *
     * @param from "rotary" or "learned"
     * @param start "plain": standard slopes and nothing else, or "fitted": heads by their slopes, every layer fitted
     * @param plain KL(original || it) on held-out text that the choice was made by, nats per token; null where none was made
     * @param fitted the same of the other start
     * @param steps of healing after which they were compared; 0 where they were compared as they are
     * @param layers of the fitted start
     */
    public record Positions(String from, String start, @Nullable Double plain, @Nullable Double fitted, int steps,
            List<PositionLayer> layers) {}

    /**
     * One layer of the fitted start.
     *
     * @param order of the original's query heads
     * @param attentionDivergence KL(original attention || converted) with ALiBi alone, nats per query and head, held out
     * @param fittedDivergence the same after the score fit
     */
    public record PositionLayer(int block, List<Integer> order, double attentionDivergence, double fittedDivergence,
            Step values, Step down) {}

    /**
     * How key-value heads were shared out to layers.
     *
     * @param heads of all layers at most
     * @param divergence the sum of what was chosen costs
     */
    public record Budget(int heads, double divergence, List<LayerCost> layers) {}

    /**
     * What fewer heads in one layer cost.
     *
     * @param kvHeads that were chosen
     * @param divergences KL(original || it) on held-out text, nats per token, by the number of heads of this layer alone, merged and
     *     not yet fitted
     */
    public record LayerCost(int block, int kvHeads, SequencedMap<Integer, Double> divergences) {}

    /**
     * One layer.
     *
     * @param kvHeads after the conversion
     * @param order of the original's key-value heads, of which neighbours share
     * @param keyResidual the share of the weighted energy of keys that merging lost
     * @param valueResidual the same of values
     * @param attentionDivergence KL(original attention || converted) after merging, nats per query and head, held out
     * @param fittedDivergence the same after the score fit
     * @param turns kept turns of the score fit
     * @param down null where there are experts, whose down projections stay
     */
    public record Layer(int block, int kvHeads, List<Integer> order, double keyResidual, double valueResidual,
            double attentionDivergence,
            double fittedDivergence, int turns, Step values, @Nullable Step down) {}

    /**
     * A least-squares step on the residual stream, by held-out sequences.
     *
     * @param ridge lambda that was chosen; null where the weights stayed
     * @param errorBefore mean squared error per token
     * @param errorAfter of what was kept
     */
    public record Step(@Nullable Double ridge, double errorBefore, double errorAfter) {
        static Step of(Fit fit) {
            return new Step(fit.kept() ? fit.ridge() : null, fit.before(), fit.after());
        }

        static @Nullable Step ofAny(@Nullable Fit fit) {
            return fit == null ? null : of(fit);
        }
    }

    /**
     * The course of the distillation.
     *
     * @param steps that were taken, of those that were planned
     * @param before KL(original || it) on held-out text, nats per token
     * @param after of what was kept
     * @param rate of learning that it ended with, before the schedule
     * @param trials what a short schedule made of the held-out text with each rate; none where the rate was given
     * @param curve every validation on the held-out text
     * @param tokensPerSecond of a step, the median; null where this run took none
     */
    public record Healed(int steps, int planned, double before, double after, double rate, List<Trial> trials,
            List<Look> curve, @Nullable Double tokensPerSecond) {}

    /** @param divergence after a short schedule; null where it was not finite */
    public record Trial(double rate, @Nullable Double divergence) {}

    /** @param divergence after a step */
    public record Look(int step, double divergence) {}

    /** Bytes of the KV cache for each token, 16-bit keys and values. */
    public record Cache(long bytesPerTokenBefore, long bytesPerTokenAfter) {}

    /**
     * Measured on a text.
     *
     * @param before perplexity of the original, after of the converted model
     * @param difference of their mean cross-entropies in nats per token, with its 95 % confidence interval
     * @param divergence of their predictions
     */
    public record Quality(String text, int window, int windows, double before, double after, double difference,
            double differenceLow, double differenceHigh, Divergence divergence) {}
}
