package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** RMSNorm and LayerNorm of rows or of runs of their columns, rows in parallel. Sums run in as many float lanes as a vector has, then over the lanes. */
final class CpuNorms {

    private CpuNorms() {}

    /** @param width columns that are normalised together; weight has as many, or a row's, each run its own */
    static void rmsNorm(Parallel parallel, Tensor x, Tensor weight, int width, float eps, Tensor out) {
        int columns = Math.toIntExact(x.columns());
        long step = weightStep(weight, width);
        Rows.forEach(parallel, x, row -> {
            for (int from = 0; from < columns; from += width) {
                long at = Memory.row(x, row) + 4L * from;
                float meanSquare = sumOfSquares(x.memory(), at, width, 0) / width;
                float inverse = (float) (1 / Math.sqrt((double) meanSquare + eps));
                scale(x.memory(), at, width, 0, inverse, weight.memory(), step * from, out.memory(),
                        Memory.row(out, row) + 4L * from);
            }
        });
    }

    /** As rmsNorm. */
    static void layerNorm(Parallel parallel, Tensor x, Tensor weight, @Nullable Tensor bias, int width, float eps,
            Tensor out) {
        int columns = Math.toIntExact(x.columns());
        long step = weightStep(weight, width);
        Rows.forEach(parallel, x, row -> {
            for (int from = 0; from < columns; from += width) {
                long at = Memory.row(x, row) + 4L * from;
                float mean = sum(x.memory(), at, width) / width;
                float variance = sumOfSquares(x.memory(), at, width, mean) / width;
                float inverse = (float) (1 / Math.sqrt((double) variance + eps));
                long target = Memory.row(out, row) + 4L * from;
                scale(x.memory(), at, width, mean, inverse, weight.memory(), step * from, out.memory(), target);
                if (bias != null) {
                    CpuElementwise.addRow(out.memory(), target, bias.memory(), step * from, width);
                }
            }
        });
    }

    /** Bytes from a column of a row to the next of the weights: 0 where runs of columns share theirs. */
    static long weightStep(Tensor weight, int width) {
        return weight.columns() == width ? 0 : Float.BYTES;
    }

    static float sum(MemorySegment x, long at, int columns) {
        FloatVector sum = FloatVector.zero(SPECIES);
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            sum = sum.add(Memory.load(x, at + 4L * c));
        }
        if (c < columns) {
            sum = sum.add(Memory.load(x, at + 4L * c, SPECIES.indexInRange(c, columns)));
        }
        return VectorMath.sum(sum);
    }

    /** The sum of (x - centre)^2. */
    static float sumOfSquares(MemorySegment x, long at, int columns, float centre) {
        FloatVector sum = FloatVector.zero(SPECIES);
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector difference = Memory.load(x, at + 4L * c).sub(centre);
            sum = difference.fma(difference, sum);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector difference = Memory.load(x, at + 4L * c, lanes).sub(centre, lanes);
            sum = difference.fma(difference, sum);
        }
        return VectorMath.sum(sum);
    }

    /** out = (x - centre) * factor * weight. */
    private static void scale(MemorySegment x, long at, int columns, float centre, float factor, MemorySegment weight,
            long weightAt, MemorySegment out, long target) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector normal = Memory.load(x, at + 4L * c).sub(centre).mul(factor);
            Memory.store(normal.mul(Memory.load(weight, weightAt + 4L * c)), out, target + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector normal = Memory.load(x, at + 4L * c, lanes).sub(centre).mul(factor);
            Memory.store(normal.mul(Memory.load(weight, weightAt + 4L * c, lanes)), out, target + 4L * c, lanes);
        }
    }
}
