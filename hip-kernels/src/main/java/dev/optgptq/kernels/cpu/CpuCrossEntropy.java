package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.Arguments;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Cross-entropy of softmax, rows in parallel: exponentials in float, their sum in double. The error of log-sum-exp stays
 * below 1e-6: each term is good to 1.5e-7 and |logit - max| / 2^24 of itself, and large distances carry small terms.
 */
final class CpuCrossEntropy {

    private static final VectorSpecies<Double> DOUBLES = VectorSpecies.of(double.class, SPECIES.vectorShape());

    private CpuCrossEntropy() {}

    static void run(Parallel parallel, Tensor logits, Tensor targets, Tensor nll) {
        int vocabulary = Math.toIntExact(logits.columns());
        Rows.forEach(parallel, logits, row -> {
            int id = targets.memory().get(Memory.INT, 4 * row);
            long target = Arguments.token("crossEntropy", id, row, vocabulary);
            MemorySegment memory = logits.memory();
            long at = Memory.row(logits, row);
            float max = max(memory, at, vocabulary);
            double logSum = Math.log(sumOfExp(memory, at, vocabulary, max));
            nll.memory().set(Memory.DOUBLE, 8 * row,
                    logSum + ((double) max - memory.get(Memory.FLOAT, at + 4 * target)));
        });
    }

    static float max(MemorySegment x, long at, int columns) {
        FloatVector max = FloatVector.broadcast(SPECIES, Float.NEGATIVE_INFINITY);
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            max = VectorMath.larger(Memory.load(x, at + 4L * c), max);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector tail = Memory.load(x, at + 4L * c, lanes);
            max = max.blend(VectorMath.larger(tail, max), lanes);
        }
        return max.reduceLanes(VectorOperators.MAX);
    }

    /** sum exp(x - max); NaN where any x is. */
    static double sumOfExp(MemorySegment x, long at, int columns, float max) {
        DoubleVector low = DoubleVector.zero(DOUBLES);
        DoubleVector high = low;
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector power = VectorMath.exp(Memory.load(x, at + 4L * c).sub(max));
            low = low.add(power.convertShape(VectorOperators.F2D, DOUBLES, 0));
            high = high.add(power.convertShape(VectorOperators.F2D, DOUBLES, 1));
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector all = VectorMath.exp(Memory.load(x, at + 4L * c, lanes).sub(max));
            FloatVector power = FloatVector.zero(SPECIES).blend(all, lanes);
            low = low.add(power.convertShape(VectorOperators.F2D, DOUBLES, 0));
            high = high.add(power.convertShape(VectorOperators.F2D, DOUBLES, 1));
        }
        return sumOfLanes(low.add(high));
    }

    /** In the order of the lanes: reduceLanes(ADD) promises none. */
    static double sumOfLanes(DoubleVector v) {
        double sum = 0;
        for (int lane = 0; lane < DOUBLES.length(); lane++) {
            sum += v.lane(lane);
        }
        return sum;
    }
}
