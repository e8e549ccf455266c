package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.ColumnSums;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** The gradients through RMSNorm and LayerNorm, chunks of rows in parallel. */
final class CpuNormGradients {

    private CpuNormGradients() {}

    /** @param width columns that were normalised together; weight and dWeight have as many, or a row's */
    static void rmsNorm(Parallel parallel, Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        int columns = Math.toIntExact(x.columns());
        int step = weight.columns() == width ? 0 : 1;
        ColumnSums.chunks(parallel, x.rows(), sums(x, weight), dWeight, (row, sums) -> {
            for (int from = 0; from < columns; from += width) {
                long at = Memory.row(x, row) + 4L * from;
                float meanSquare = CpuNorms.sumOfSquares(x.memory(), at, width, 0) / width;
                float inverse = (float) (1 / Math.sqrt((double) meanSquare + eps));
                new Row(x.memory(), at, dOut.memory(), Memory.row(dOut, row) + 4L * from, weight.memory(), step * from,
                        width, 0, inverse).addTo(dx.memory(), Memory.row(dx, row) + 4L * from, 0, sums);
            }
        });
    }

    /** As rmsNorm. */
    static void layerNorm(Parallel parallel, Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        int columns = Math.toIntExact(x.columns());
        int step = weight.columns() == width ? 0 : 1;
        ColumnSums.chunks(parallel, x.rows(), sums(x, weight), dWeight, (row, sums) -> {
            for (int from = 0; from < columns; from += width) {
                long at = Memory.row(x, row) + 4L * from;
                float mean = CpuNorms.sum(x.memory(), at, width) / width;
                float variance = CpuNorms.sumOfSquares(x.memory(), at, width, mean) / width;
                float inverse = (float) (1 / Math.sqrt((double) variance + eps));
                Row work = new Row(x.memory(), at, dOut.memory(), Memory.row(dOut, row) + 4L * from, weight.memory(),
                        step * from, width, mean, inverse);
                work.addTo(dx.memory(), Memory.row(dx, row) + 4L * from, work.sumOfGradients() / width, sums);
            }
        });
    }

    /** dBias += the sums of dOut over rows, and over the runs of columns that share it. */
    static void bias(Parallel parallel, Tensor dOut, Tensor dBias) {
        int columns = Math.toIntExact(dOut.columns());
        int run = Math.toIntExact(dBias.columns());
        ColumnSums.chunks(parallel, dOut.rows(), sums(dOut, dBias), dBias, (row, sums) -> {
            for (int from = 0; from < columns; from += run) {
                ColumnSums.addRow(dOut.memory(), Memory.row(dOut, row) + 4L * from, run, sums);
            }
        });
    }

    /** How many sums over rows there are: none of no columns. */
    private static int sums(Tensor x, Tensor weight) {
        return x.columns() == 0 ? 0 : Math.toIntExact(weight.columns());
    }

    /**
     * A run of columns of one row: n = (x - centre) factor, g = dOut weight. Lanes beyond the columns have g = 0.
     *
     * @param first column of the weights, and of their sums
     */
    private record Row(MemorySegment x, long xAt, MemorySegment dOut, long dOutAt, MemorySegment weight, int first,
            int columns, float centre, float factor) {

        private FloatVector weights(int c) {
            return Memory.load(weight, 4L * (first + c));
        }

        private FloatVector weights(int c, VectorMask<Float> lanes) {
            return Memory.load(weight, 4L * (first + c), lanes);
        }

        float sumOfGradients() {
            FloatVector sum = FloatVector.zero(SPECIES);
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                sum = Memory.load(dOut, dOutAt + 4L * c).fma(weights(c), sum);
            }
            if (c < columns) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                sum = Memory.load(dOut, dOutAt + 4L * c, lanes).fma(weights(c, lanes), sum);
            }
            return VectorMath.sum(sum);
        }

        /** sum g n. */
        private float product() {
            FloatVector sum = FloatVector.zero(SPECIES);
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                FloatVector normal = Memory.load(x, xAt + 4L * c).sub(centre).mul(factor);
                FloatVector g = Memory.load(dOut, dOutAt + 4L * c).mul(weights(c));
                sum = g.fma(normal, sum);
            }
            if (c < columns) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                FloatVector normal = Memory.load(x, xAt + 4L * c, lanes).sub(centre).mul(factor);
                FloatVector g = Memory.load(dOut, dOutAt + 4L * c, lanes).mul(weights(c, lanes));
                sum = g.fma(normal, sum);
            }
            return VectorMath.sum(sum);
        }

        /** dx += (g - meanG - n mean(g n)) factor; sums += dOut n. */
        void addTo(MemorySegment dx, long dxAt, float meanG, float[] sums) {
            float meanProduct = product() / columns;
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                FloatVector normal = Memory.load(x, xAt + 4L * c).sub(centre).mul(factor);
                FloatVector d = Memory.load(dOut, dOutAt + 4L * c);
                FloatVector inner = d.mul(weights(c)).sub(meanG).sub(normal.mul(meanProduct));
                Memory.store(Memory.load(dx, dxAt + 4L * c).add(inner.mul(factor)), dx, dxAt + 4L * c);
                d.fma(normal, FloatVector.fromArray(SPECIES, sums, first + c)).intoArray(sums, first + c);
            }
            if (c < columns) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                FloatVector normal = Memory.load(x, xAt + 4L * c, lanes).sub(centre).mul(factor);
                FloatVector d = Memory.load(dOut, dOutAt + 4L * c, lanes);
                FloatVector inner = d.mul(weights(c, lanes)).sub(meanG)
                        .sub(normal.mul(meanProduct));
                Memory.store(Memory.load(dx, dxAt + 4L * c, lanes).add(inner.mul(factor)), dx, dxAt + 4L * c, lanes);
                d.fma(normal, FloatVector.fromArray(SPECIES, sums, first + c, lanes)).intoArray(sums, first + c, lanes);
            }
        }
    }
}
