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
 * @param unquantizedLoss of the unquantized model; null where unknown
 * @param plainGptqLoss of plain GPTQ; null where unknown
 * @param steps as they were tried: in each block one after the other, and then on the whole model
 * @param totals one for each name, in the order of their first steps
 */
public record Ablation(String text, long tokens, String unit, @Nullable Double unquantizedLoss,
        @Nullable Double plainGptqLoss, List<Step> steps, List<Total> totals) {

    public Ablation {
        steps = List.copyOf(steps);
        totals = List.copyOf(totals);
    }

    /**
     * With the totals of the steps.
     *
     * @param plainGptqSeconds what plain GPTQ alone took, at least 0
     * @param lossAfter held-out loss of the whole model behind a step of that name, in {@code unit}, where it is known
     */
    public static Ablation of(String text, long tokens, String unit, @Nullable Double unquantizedLoss,
            @Nullable Double plainGptqLoss, double plainGptqSeconds, List<Step> steps, Map<String, Double> lossAfter) {
        List<Total> totals = steps.stream().map(Step::name).distinct()
                .map(name -> Total.of(name, steps.stream().filter(step -> step.name().equals(name)).toList(),
                        plainGptqSeconds, lossAfter.get(name)))
                .toList();
        return new Ablation(text, tokens, unit, unquantizedLoss, plainGptqLoss, steps, totals);
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
     * @param seconds what it took, judging included
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
     * @param seconds in all, those that were not kept included
     * @param shareOfPlainGptqTime seconds as a share of what plain GPTQ took; null where that is not known
     * @param heldOutLoss of the whole model behind it; null where unknown
     */
    public record Total(String name, int keptIn, int of, double meanChange, double seconds,
            @Nullable Double shareOfPlainGptqTime, @Nullable Double heldOutLoss) {

        static Total of(String name, List<Step> steps, double plainGptqSeconds, @Nullable Double heldOutLoss) {
            double seconds = steps.stream().mapToDouble(Step::seconds).sum();
            double change = steps.stream().mapToDouble(step -> step.kept() ? finite(step.change()) : 0).average()
                    .orElse(0);
            return new Total(name, Math.toIntExact(steps.stream().filter(Step::kept).count()), steps.size(), change,
                    seconds, plainGptqSeconds > 0 ? seconds / plainGptqSeconds : null, heldOutLoss);
        }

        private static double finite(double change) {
            return Double.isFinite(change) ? change : 0;
        }
    }
}
