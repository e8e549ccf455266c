package dev.optgptq.gptq.report;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Gain and cost of each step beyond plain GPTQ. Steps are cumulative; each is validated on held-out text, and dropped
 * where it did not help there.
 *
 * @param text the held-out text, for people
 * @param tokens how many
 * @param unit of the losses of whole models, here and in the totals: "KL divergence, nats per token"
 * @param unquantizedLoss of the unquantized model: 0 for a divergence from it; null where unknown
 * @param plainGptqLoss of the blocks as solved by GPTQ alone, each with the inputs from the preceding blocks of this
 *     run; null where unknown
 * @param quantizedLoss of the quantized model; null where unknown
 * @param unquantizedCrossEntropy of the next token on that text, nats per token, by the unquantized model; null where unknown
 * @param quantizedCrossEntropy the same by the quantized model; null where unknown
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
     * Losses of whole models on the text, as in the record's parameters; null where unknown.
     *
     * @param lossAfter of the whole model after the step of that name, where known
     */
    public record Models(@Nullable Double unquantized, @Nullable Double plainGptq, @Nullable Double quantized,
            @Nullable Double unquantizedCrossEntropy, @Nullable Double quantizedCrossEntropy,
            Map<String, Double> lossAfter) {

        /** No loss is known. */
        public static final Models UNKNOWN = new Models(null, null, null, null, null, Map.of());

        public Models {
            lossAfter = Map.copyOf(lossAfter);
        }
    }

    /**
     * Times of the run.
     *
     * @param plainGptq seconds that plain GPTQ alone took, at least 0
     * @param beside extra seconds by step name: work that only this step needs, done for all blocks at once
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
     * @param unit of its losses; losses of different steps are comparable only in the same unit: "error of the block's
     *     output"
     * @param lossBefore on the held-out text without it, after the steps kept before it
     * @param lossAfter the same with it; may be infinite or NaN
     * @param kept whether it was better and therefore kept
     * @param seconds time to solve and validate it
     * @param note null, or a remark
     */
    public record Step(String name, @Nullable Integer block, String unit, double lossBefore, double lossAfter,
            boolean kept, double seconds, @Nullable String note) {

        /** The scope, for people. */
        public String scope() {
            return block == null ? "whole model" : "block " + block;
        }

        /** Relative change of the loss by this step, kept or not: -0.1 is a tenth less. NaN where that is undefined. */
        public double change() {
            return lossAfter / lossBefore - 1;
        }
    }

    /**
     * All steps of one name.
     *
     * @param keptIn how many were kept
     * @param of how many were tried
     * @param meanChange mean relative change of the loss over all that were tried; 0 for a dropped one
     * @param seconds total, including dropped ones and the work that only this step needs
     * @param shareOfPlainGptqTime seconds as a share of what plain GPTQ took; null where that is not known
     * @param heldOutLoss of the whole model after it; null where unknown
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
