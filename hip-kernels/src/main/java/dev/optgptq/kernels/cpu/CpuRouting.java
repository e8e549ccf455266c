package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.Routing;
import dev.optgptq.kernels.ops.Routing.GroupScore;
import dev.optgptq.kernels.ops.Routing.Scoring;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/** Routes tokens, one after another, with the memory that this takes: a thread has its own. */
final class CpuRouting {

    /** Added to the sum that sigmoid scores are divided by, as DeepSeek-V3 does. */
    private static final float LEAST_SUM = 1e-20f;

    private final Routing routing;
    private final float[] logits;
    private final float[] scores;
    private final float[] choice;
    private final boolean[] open;
    private final float[] groups;
    private final boolean[] groupOpen;

    CpuRouting(Routing routing) {
        this.routing = routing;
        int whole = Math.ceilDiv(routing.experts(), LANES) * LANES;
        this.logits = new float[whole];
        this.scores = new float[whole];
        this.choice = new float[routing.experts()];
        this.open = new boolean[routing.experts()];
        this.groups = new float[routing.groups()];
        this.groupOpen = new boolean[routing.groups()];
    }

    void route(Tensor from, @Nullable Tensor bias, long row, Tensor experts, Tensor weights) {
        score(from, row);
        choose(bias);
        long expertAt = Memory.row(experts, row);
        long weightAt = Memory.row(weights, row);
        float sum = 0;
        for (int i = 0; i < routing.active(); i++) {
            int e = takeBest(choice, open);
            sum += scores[e];
            experts.memory().set(Memory.INT, expertAt + 4L * i, e);
            weights.memory().set(Memory.FLOAT, weightAt + 4L * i, scores[e]);
        }
        CpuLimits.scaleRow(weights.memory(), weightAt, routing.scale() / divisor(sum), routing.active());
    }

    private float divisor(float sum) {
        if (!routing.renormalise()) {
            return 1;
        }
        return routing.scoring() == Scoring.SIGMOID ? sum + LEAST_SUM : sum;
    }

    private void score(Tensor from, long row) {
        int count = routing.experts();
        MemorySegment.copy(from.memory(), Memory.FLOAT, Memory.row(from, row), logits, 0, count);
        boolean sigmoid = routing.scoring() == Scoring.SIGMOID;
        float max = Float.NEGATIVE_INFINITY;
        for (int e = 0; e < count; e++) {
            max = Math.max(max, logits[e]);
        }
        exponentials(sigmoid ? -1 : 1, sigmoid ? 0 : -max);
        float sum = 0;
        for (int e = 0; e < count; e++) {
            sum += scores[e];
        }
        for (int e = 0; e < count; e++) {
            scores[e] = sigmoid ? 1 / (1 + scores[e]) : scores[e] / sum;
        }
    }

    /** scores = e^(factor logits + shift). */
    private void exponentials(float factor, float shift) {
        for (int e = 0; e < scores.length; e += LANES) {
            VectorMath.exp(FloatVector.fromArray(SPECIES, logits, e).mul(factor).add(shift)).intoArray(scores, e);
        }
    }

    /** What experts are chosen by, and which are open to choice. */
    private void choose(@Nullable Tensor bias) {
        boolean byLogit = routing.choosesByLogit(bias != null);
        for (int e = 0; e < choice.length; e++) {
            float value = byLogit
                    ? logits[e]
                    : scores[e] + (bias == null ? 0 : bias.memory().get(Memory.FLOAT, 4L * e));
            choice[e] = Float.isNaN(value) ? Float.NEGATIVE_INFINITY : value;
        }
        int size = choice.length / groups.length;
        for (int g = 0; g < groups.length; g++) {
            groups[g] = groupChoice(g * size, size);
        }
        Arrays.fill(groupOpen, true);
        Arrays.fill(open, false);
        for (int i = 0; i < routing.activeGroups(); i++) {
            int g = takeBest(groups, groupOpen);
            Arrays.fill(open, g * size, (g + 1) * size, true);
        }
    }

    private float groupChoice(int from, int size) {
        float first = Float.NEGATIVE_INFINITY;
        float second = Float.NEGATIVE_INFINITY;
        for (int e = from; e < from + size; e++) {
            second = Math.max(second, Math.min(first, choice[e]));
            first = Math.max(first, choice[e]);
        }
        return routing.groupScore() == GroupScore.SUM_OF_TWO && size > 1 ? first + second : first;
    }

    /** The index of the largest open value, of equal ones the lowest; it is closed. */
    private static int takeBest(float[] values, boolean[] open) {
        int best = -1;
        for (int i = 0; i < values.length; i++) {
            best = open[i] && (best < 0 || values[i] > values[best]) ? i : best;
        }
        open[best] = false;
        return best;
    }

    /** As ReferenceMixtureOps.routeGradient. */
    void gradient(Tensor from, long row, Tensor experts, Tensor dWeights, Tensor dLogits) {
        score(from, row);
        float[] dScores = choice;
        Arrays.fill(dScores, 0);
        Arrays.fill(open, false);
        float sum = 0;
        float product = 0;
        for (int i = 0; i < routing.active(); i++) {
            int e = Objects.checkIndex(experts.memory().get(Memory.INT, Memory.row(experts, row) + 4L * i),
                    dScores.length);
            dScores[e] = routing.scale() * dWeights.memory().get(Memory.FLOAT, Memory.row(dWeights, row) + 4L * i);
            open[e] = true;
            sum += scores[e];
            product += dScores[e] * scores[e];
        }
        boolean softmax = routing.scoring() == Scoring.SOFTMAX;
        float divisor = divisor(sum);
        // Renormalised weights sum to a constant: over the chosen, the softmax's own mean is then 0.
        float mean = routing.renormalise() ? product / divisor : softmax ? product : 0;
        for (int e = 0; e < dScores.length; e++) {
            boolean counts = open[e] || (softmax && !routing.renormalise());
            float d = counts ? (dScores[e] - mean) / divisor : 0;
            dLogits.memory().set(Memory.FLOAT, Memory.row(dLogits, row) + 4L * e,
                    scores[e] * (softmax ? 1 : 1 - scores[e]) * d);
        }
    }
}
