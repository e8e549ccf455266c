package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.GradientOps.CurvatureWeights;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/** Attention as whole matrices [T, T], rows in parallel; lanes are summed in their order. */
public final class CpuAttentionMatrices {

    private static final FloatVector INDICES = FloatVector.zero(SPECIES).addIndex(1);

    private CpuAttentionMatrices() {}

    /** As NeuralOps.causalSoftmax. */
    public static void causalSoftmax(Parallel parallel, Tensor scores, float scale, @Nullable Tensor slopes,
            int window) {
        int length = Math.toIntExact(scores.columns());
        Rows.forEach(parallel, scores, row -> {
            int i = (int) (row % length);
            float slope = slopes == null ? 0 : slopes.memory().get(Memory.FLOAT, 4 * (row / length));
            Row.of(scores, row, i, window).softmax(scale, slope, i, length);
        });
    }

    /** As GradientOps.attentionCurvature. */
    public static void curvature(Parallel parallel, Tensor first, Tensor second, CurvatureWeights weights, int window,
            Tensor errors) {
        int length = Math.toIntExact(errors.columns());
        Rows.forEach(parallel, errors, row -> {
            int i = (int) (row % length);
            curve(Row.of(first, row, i, window), Row.of(second, row, i, window), weights,
                    Row.of(errors, row, i, window), length);
        });
    }

    private static void curve(Row p, Row q, CurvatureWeights weights, Row errors, int length) {
        float uniform = 1f / (errors.to - errors.from);
        FloatVector[] sums = {FloatVector.zero(SPECIES), FloatVector.zero(SPECIES), FloatVector.zero(SPECIES)};
        for (int j = errors.from; j < errors.to; j += LANES) {
            FloatVector e = errors.load(j);
            sums[0] = p.load(j).fma(e, sums[0]);
            sums[1] = q.load(j).fma(e, sums[1]);
            sums[2] = sums[2].add(e);
        }
        float ofP = sum(sums[0]);
        float ofQ = sum(sums[1]);
        float ofAll = sum(sums[2]) * uniform;
        for (int j = errors.from; j < errors.to; j += LANES) {
            FloatVector e = errors.load(j);
            errors.store(j, p.load(j).mul(weights.first()).mul(e.sub(ofP))
                    .add(q.load(j).mul(weights.second()).mul(e.sub(ofQ)))
                    .add(e.sub(ofAll).mul(weights.uniform() * uniform)));
        }
        errors.clearRest(length);
    }

    private static float sum(FloatVector lanes) {
        float sum = 0;
        for (float lane : lanes.toArray()) {
            sum += lane;
        }
        return sum;
    }

    /**
     * The keys [from, to) that a query sees.
     *
     * @param at where the row begins
     */
    private record Row(MemorySegment memory, long at, int from, int to) {

        static Row of(Tensor matrix, long row, int i, int window) {
            return new Row(matrix.memory(), Memory.row(matrix, row), window == 0 ? 0 : Math.max(0, i - window + 1),
                    i + 1);
        }

        private VectorMask<Float> lanes(int j) {
            return SPECIES.indexInRange(j, to);
        }

        /** Lanes that the query does not see are 0. */
        private FloatVector load(int j) {
            return j + LANES <= to ? Memory.load(memory, at + 4L * j) : Memory.load(memory, at + 4L * j, lanes(j));
        }

        private void store(int j, FloatVector values) {
            Memory.store(values, memory, at + 4L * j, lanes(j));
        }

        private void clearRest(int length) {
            memory.asSlice(at, 4L * from).fill((byte) 0);
            memory.asSlice(at + 4L * to, 4L * (length - to)).fill((byte) 0);
        }

        private void softmax(float scale, float slope, int i, int length) {
            FloatVector most = FloatVector.broadcast(SPECIES, Float.NEGATIVE_INFINITY);
            for (int j = from; j < to; j += LANES) {
                FloatVector score = INDICES.add(j - i).mul(slope).add(load(j).mul(scale));
                store(j, score);
                most = most.max(most.blend(score, lanes(j)));
            }
            float largest = most.reduceLanes(VectorOperators.MAX);
            FloatVector total = FloatVector.zero(SPECIES);
            for (int j = from; j < to; j += LANES) {
                FloatVector power = VectorMath.exp(load(j).sub(largest));
                store(j, power);
                total = total.add(FloatVector.zero(SPECIES).blend(power, lanes(j)));
            }
            float sum = CpuAttentionMatrices.sum(total);
            for (int j = from; j < to; j += LANES) {
                store(j, load(j).div(sum));
            }
            clearRest(length);
        }
    }
}
