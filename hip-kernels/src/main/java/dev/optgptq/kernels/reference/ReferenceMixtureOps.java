package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.getInt;
import static dev.optgptq.kernels.reference.Elements.set;
import static dev.optgptq.kernels.reference.Elements.setInt;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.Routing;
import dev.optgptq.kernels.ops.Routing.GroupScore;
import dev.optgptq.kernels.ops.Routing.Scoring;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The definition of MixtureOps: one token at a time, float64 throughout, one rounding at the end. */
final class ReferenceMixtureOps implements MixtureOps {

    /** Added to the sum that sigmoid scores are divided by, as DeepSeek-V3 does. */
    private static final double LEAST_SUM = 1e-20;

    @Override
    public void route(Tensor logits, @Nullable Tensor bias, Routing routing, Tensor experts, Tensor weights) {
        for (long r = 0; r < logits.rows(); r++) {
            double[] scores = scores(logits, r, routing);
            double[] choice = scores.clone();
            for (int e = 0; e < choice.length; e++) {
                boolean byLogit = routing.choosesByLogit(bias != null);
                double value = byLogit ? get(logits, r, e) : scores[e] + (bias == null ? 0 : get(bias, 0, e));
                choice[e] = Double.isNaN(value) ? Double.NEGATIVE_INFINITY : value;
            }
            int[] chosen = best(choice, inBestGroups(choice, routing), routing.active());
            double divisor = divisor(scores, chosen, routing);
            for (int i = 0; i < chosen.length; i++) {
                setInt(experts, r, i, chosen[i]);
                set(weights, r, i, scores[chosen[i]] / divisor * routing.scale());
            }
        }
    }

    private static double[] scores(Tensor logits, long row, Routing routing) {
        double[] scores = new double[routing.experts()];
        double max = Double.NEGATIVE_INFINITY;
        for (int e = 0; e < scores.length; e++) {
            max = Math.max(max, get(logits, row, e));
        }
        for (int e = 0; e < scores.length; e++) {
            double logit = get(logits, row, e);
            scores[e] = routing.scoring() == Scoring.SIGMOID ? Activations.sigmoid(logit) : Math.exp(logit - max);
        }
        if (routing.scoring() == Scoring.SOFTMAX) {
            double sum = Arrays.stream(scores).sum();
            Arrays.setAll(scores, e -> scores[e] / sum);
        }
        return scores;
    }

    /** Which experts are in the groups that may be chosen from. */
    private static boolean[] inBestGroups(double[] choice, Routing routing) {
        int size = routing.experts() / routing.groups();
        double[] groups = new double[routing.groups()];
        for (int g = 0; g < groups.length; g++) {
            double[] members = Arrays.copyOfRange(choice, g * size, (g + 1) * size);
            Arrays.sort(members);
            boolean both = routing.groupScore() == GroupScore.SUM_OF_TWO && size > 1;
            groups[g] = members[size - 1] + (both ? members[size - 2] : 0);
        }
        boolean[] open = new boolean[groups.length];
        Arrays.fill(open, true);
        boolean[] inside = new boolean[choice.length];
        for (int g : best(groups, open, routing.activeGroups())) {
            Arrays.fill(inside, g * size, (g + 1) * size, true);
        }
        return inside;
    }

    /** The indices of the largest open values, of equal ones the lower first. */
    private static int[] best(double[] values, boolean[] open, int count) {
        int[] best = new int[count];
        for (int i = 0; i < count; i++) {
            int found = -1;
            for (int at = 0; at < values.length; at++) {
                found = open[at] && (found < 0 || values[at] > values[found]) ? at : found;
            }
            best[i] = found;
            open[found] = false;
        }
        return best;
    }

    private static double divisor(double[] scores, int[] chosen, Routing routing) {
        double sum = Arrays.stream(chosen).mapToDouble(e -> scores[e]).sum();
        if (!routing.renormalise()) {
            return 1;
        }
        return routing.scoring() == Scoring.SIGMOID ? sum + LEAST_SUM : sum;
    }

    /**
     * With s the scores, S what weights were divided by, d their gradients, <> a sum over the chosen: of renormalised weights
     * ds = (d - <d s> / S) / S for the chosen, else ds = d; the sigmoid's logits then have s (1 - s) ds, the softmax's s (ds -
     * <ds s>).
     */
    @Override
    public void routeGradient(Tensor logits, Routing routing, Tensor experts, Tensor dWeights, Tensor dLogits) {
        for (long r = 0; r < logits.rows(); r++) {
            double[] scores = scores(logits, r, routing);
            int[] chosen = new int[routing.active()];
            double[] dScores = new double[scores.length];
            double product = 0;
            for (int i = 0; i < chosen.length; i++) {
                chosen[i] = Objects.checkIndex(getInt(experts, r, i), scores.length);
                dScores[chosen[i]] = routing.scale() * get(dWeights, r, i);
                product += dScores[chosen[i]] * scores[chosen[i]];
            }
            double divisor = divisor(scores, chosen, routing);
            for (int e : chosen) {
                dScores[e] = (dScores[e] - (routing.renormalise() ? product / divisor : 0)) / divisor;
            }
            double mean = 0;
            for (int e : chosen) {
                mean += routing.scoring() == Scoring.SOFTMAX ? dScores[e] * scores[e] : 0;
            }
            for (int e = 0; e < scores.length; e++) {
                double slope = scores[e] * (routing.scoring() == Scoring.SIGMOID ? 1 - scores[e] : 1);
                set(dLogits, r, e, slope * (dScores[e] - mean));
            }
        }
    }

    @Override
    public void sortByExpert(Tensor experts, Tensor tokens, Tensor slots, Tensor offsets) {
        int place = 0;
        int count = Math.toIntExact(offsets.columns() - 1);
        int active = Math.toIntExact(experts.columns());
        for (int e = 0; e < count; e++) {
            setInt(offsets, 0, e, place);
            for (int slot = 0; slot < experts.elements(); slot++) {
                if (Objects.checkIndex(getInt(experts, slot / active, slot % active), count) == e) {
                    setInt(tokens, 0, place, slot / active);
                    setInt(slots, 0, place, slot);
                    place++;
                }
            }
        }
        setInt(offsets, 0, count, place);
    }

    @Override
    public void scatterAddRows(Tensor source, Tensor order, @Nullable Tensor factors, Tensor target) {
        for (long i = 0; i < source.rows(); i++) {
            long to = Objects.checkIndex((long) getInt(order, 0, i), target.rows());
            double factor = factors == null ? 1 : get(factors, 0, i);
            for (long c = 0; c < source.columns(); c++) {
                set(target, to, c, get(target, to, c) + factor * get(source, i, c));
            }
        }
    }

    @Override
    public void scatterAddRowsGradient(Tensor source, Tensor order, @Nullable Tensor factors, Tensor dTarget,
            Tensor dSource, @Nullable Tensor dFactors) {
        for (long i = 0; i < source.rows(); i++) {
            long from = Objects.checkIndex((long) getInt(order, 0, i), dTarget.rows());
            double factor = factors == null ? 1 : get(factors, 0, i);
            double product = 0;
            for (long c = 0; c < source.columns(); c++) {
                product += get(source, i, c) * get(dTarget, from, c);
                set(dSource, i, c, factor * get(dTarget, from, c));
            }
            if (dFactors != null) {
                set(dFactors, 0, i, product);
            }
        }
    }
}
