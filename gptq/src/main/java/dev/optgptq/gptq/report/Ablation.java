package dev.optgptq.gptq.report;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What each step beyond plain GPTQ bought, and what it cost. Steps come one on top of the other; each is judged on text that
 * nothing was computed from, and left out again where it did not help there.
 *
 * @param text what they were judged on, in words
 * @param tokens how many
 * @param unit of the losses of whole models, here and in the totals: "KL divergence, nats per token"
 * @param unquantizedLoss of the unquantized model: 0 for a divergence from it; null where unknown
 * @param plainGptqLoss of the blocks as GPTQ alone solved them, each from the inputs that the blocks before it gave in this
 *     run; null where unknown
 * @param quantizedLoss of what came out; null where unknown
 * @param unquantizedCrossEntropy of the next token on that text, nats per token, by the unquantized model; null where unknown
 * @param quantizedCrossEntropy the same by what came out; null where unknown
 * @param steps as they were tried: in each block one after the other, and then on the whole model
 * @param totals one for each name, in the order of their first steps
 */
public record Ablation(String text, long tokens, String unit, @Nullable Double unquantizedLoss,
        @Nullable Double plainGptqLoss, @Nullable Double quantizedLoss, @Nullable Double unquantizedCrossEntropy,
        @Nullable Double quantizedCrossEntropy, List<Step> steps, List<Total> totals) {

    public Ablation {
        steps = List.copyOf(steps);
        totals = List.copyOf(totals);
    }

    /**
     * How whole models do on the text, as the record's parameters have it; null where unknown.
     *
     * @param lossAfter of the whole model behind a step of that name, where it is known
     */
    public record Models(@Nullable Double unquantized, @Nullable Double plainGptq, @Nullable Double quantized,
            @Nullable Double unquantizedCrossEntropy, @Nullable Double quantizedCrossEntropy,
            Map<String, Double> lossAfter) {

        /** Nothing is known of any. */
        public static final Models UNKNOWN = new Models(null, null, null, null, null, Map.of());

        public Models {
            lossAfter = Map.copyOf(lossAfter);
        }
    }

    /**
     * What the run took.
     *
     * @param plainGptq seconds that plain GPTQ alone took, at least 0
     * @param beside seconds that a step of that name took beside its own: what only it needs, done for all blocks at once
     */
    public record Times(double plainGptq, Map<String, Double> beside) {

        public Times {
            beside = Map.copyOf(beside);
        }
    }

    /** With the totals of the steps. */
    public static Ablation of(String text, long tokens, String unit, Models models, Times times, List<Step> steps) {
        List<Total> totals = steps.stream().map(Step::name).distinct()
                .map(name -> Total.of(name, steps.stream().filter(step -> step.name().equals(name)).toList(), times,
                        models.lossAfter().get(name)))
                .toList();
        return new Ablation(text, tokens, unit, models.unquantized(), models.plainGptq(), models.quantized(),
                models.unquantizedCrossEntropy(), models.quantizedCrossEntropy(), steps, totals);
    }

    /**
     * One step, in one block or over the whole model.
     *
     * @param name "learned rounding"
     * @param block from 0; null for the whole model
     * @param unit of its losses, which are those of other steps only where this is the same: "error of the block's output"
     * @param lossBefore on the held-out text without it, behind the steps that were kept before it
     * @param lossAfter the same with it; may be infinite or NaN
     * @param kept whether it stayed: it was better
     * @param seconds what solving and judging it took
     * @param note null, or what else there is to say
     */
    public record Step(String name, @Nullable Integer block, String unit, double lossBefore, double lossAfter,
            boolean kept, double seconds, @Nullable String note) {

        /** Where, in words. */
        public String scope() {
            return block == null ? "whole model" : "block " + block;
        }

        /** What it did, or would have done, to the loss, as a share of it: -0.1 is a tenth less. NaN where that is undefined. */
        public double change() {
            return lossAfter / lossBefore - 1;
        }
    }

    /**
     * All steps of one name.
     *
     * @param keptIn how many were kept
     * @param of how many were tried
     * @param meanChange mean over those that were tried of what it did to their loss, as a share; one that was not kept did
     *     nothing
     * @param seconds in all, those that were not kept and what only this step needs included
     * @param shareOfPlainGptqTime seconds as a share of what plain GPTQ took; null where that is not known
     * @param heldOutLoss of the whole model behind it; null where unknown
     */
    public record Total(String name, int keptIn, int of, double meanChange, double seconds,
            @Nullable Double shareOfPlainGptqTime, @Nullable Double heldOutLoss) {

        static Total of(String name, List<Step> steps, Times times, @Nullable Double heldOutLoss) {
            double seconds = steps.stream().mapToDouble(Step::seconds).sum()
                    + times.beside().getOrDefault(name, 0.0);
            double change = steps.stream().mapToDouble(step -> step.kept() ? finite(step.change()) : 0).average()
                    .orElse(0);
            return new Total(name, Math.toIntExact(steps.stream().filter(Step::kept).count()), steps.size(), change,
                    seconds, times.plainGptq() > 0 ? seconds / times.plainGptq() : null, heldOutLoss);
        }

        private static double finite(double change) {
            return Double.isFinite(change) ? change : 0;
        }
    }
}
