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

    static void rmsNorm(Parallel parallel, Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        int columns = Math.toIntExact(x.columns());
        ColumnSums.chunks(parallel, x.rows(), columns, dWeight, (row, sums) -> {
            long at = Memory.row(x, row);
            float meanSquare = CpuNorms.sumOfSquares(x.memory(), at, columns, 0) / columns;
            float inverse = (float) (1 / Math.sqrt((double) meanSquare + eps));
            new Row(x.memory(), at, dOut.memory(), Memory.row(dOut, row), weight.memory(), columns, 0, inverse)
                    .addTo(dx.memory(), Memory.row(dx, row), 0, sums);
        });
    }

    static void layerNorm(Parallel parallel, Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        int columns = Math.toIntExact(x.columns());
        ColumnSums.chunks(parallel, x.rows(), columns, dWeight, (row, sums) -> {
            long at = Memory.row(x, row);
            float mean = CpuNorms.sum(x.memory(), at, columns) / columns;
            float variance = CpuNorms.sumOfSquares(x.memory(), at, columns, mean) / columns;
            float inverse = (float) (1 / Math.sqrt((double) variance + eps));
            Row work = new Row(x.memory(), at, dOut.memory(), Memory.row(dOut, row), weight.memory(), columns, mean,
                    inverse);
            work.addTo(dx.memory(), Memory.row(dx, row), work.sumOfGradients() / columns, sums);
        });
    }

    /** One row: n = (x - centre) factor, g = dOut weight. Lanes beyond the columns have g = 0. */
    private record Row(MemorySegment x, long xAt, MemorySegment dOut, long dOutAt, MemorySegment weight, int columns,
            float centre, float factor) {

        float sumOfGradients() {
            FloatVector sum = FloatVector.zero(SPECIES);
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                sum = Memory.load(dOut, dOutAt + 4L * c).fma(Memory.load(weight, 4L * c), sum);
            }
            if (c < columns) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                sum = Memory.load(dOut, dOutAt + 4L * c, lanes).fma(Memory.load(weight, 4L * c, lanes), sum);
            }
            return VectorMath.sum(sum);
        }

        /** sum g n. */
        private float product() {
            FloatVector sum = FloatVector.zero(SPECIES);
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                FloatVector normal = Memory.load(x, xAt + 4L * c).sub(centre).mul(factor);
                FloatVector g = Memory.load(dOut, dOutAt + 4L * c).mul(Memory.load(weight, 4L * c));
                sum = g.fma(normal, sum);
            }
            if (c < columns) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                FloatVector normal = Memory.load(x, xAt + 4L * c, lanes).sub(centre).mul(factor);
                FloatVector g = Memory.load(dOut, dOutAt + 4L * c, lanes).mul(Memory.load(weight, 4L * c, lanes));
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
                FloatVector inner = d.mul(Memory.load(weight, 4L * c)).sub(meanG).sub(normal.mul(meanProduct));
                Memory.store(Memory.load(dx, dxAt + 4L * c).add(inner.mul(factor)), dx, dxAt + 4L * c);
                d.fma(normal, FloatVector.fromArray(SPECIES, sums, c)).intoArray(sums, c);
            }
            if (c < columns) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                FloatVector normal = Memory.load(x, xAt + 4L * c, lanes).sub(centre).mul(factor);
                FloatVector d = Memory.load(dOut, dOutAt + 4L * c, lanes);
                FloatVector inner = d.mul(Memory.load(weight, 4L * c, lanes)).sub(meanG)
                        .sub(normal.mul(meanProduct));
                Memory.store(Memory.load(dx, dxAt + 4L * c, lanes).add(inner.mul(factor)), dx, dxAt + 4L * c, lanes);
                d.fma(normal, FloatVector.fromArray(SPECIES, sums, c)).intoArray(sums, c);
            }
        }
    }
}
