package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * The gradients through activations, rows in parallel. A row's values and slopes go through heap arrays of whole vectors,
 * in loops short enough for C2 to inline.
 */
final class CpuActivationGradients {

    /** Elements per task. */
    private static final long TASK_ELEMENTS = 1 << 15;
    /** 2 sqrt(2 / pi), and the same times 0.044715. */
    private static final float TANH_LINEAR = 1.5957692f;
    private static final float TANH_CUBIC = 0.071354814f;
    private static final float QUICK_LINEAR = 1.702f;
    /** 1 / sqrt(2 pi). */
    private static final float DENSITY = 0.3989423f;

    private CpuActivationGradients() {}

    static void activate(Parallel parallel, Activation activation, Tensor x, Tensor dOut) {
        int columns = Math.toIntExact(x.columns());
        forRows(parallel, x, columns, (row, work) -> {
            work.compute(activation, x.memory(), Memory.row(x, row));
            product(dOut.memory(), Memory.row(dOut, row), work.slope, x.memory(), Memory.row(x, row), columns);
        });
    }

    static void activateGated(Parallel parallel, Activation activation, Tensor gate, Tensor up, Tensor dOut) {
        int columns = Math.toIntExact(gate.columns());
        forRows(parallel, gate, columns, (row, work) -> {
            long gateAt = Memory.row(gate, row);
            long upAt = Memory.row(up, row);
            long dAt = Memory.row(dOut, row);
            work.compute(activation, gate.memory(), gateAt);
            product(dOut.memory(), dAt, work.slope, gate.memory(), gateAt, columns);
            CpuElementwise.multiplyRow(gate.memory(), gateAt, up.memory(), upAt, columns);
            product(dOut.memory(), dAt, work.value, up.memory(), upAt, columns);
        });
    }

    @FunctionalInterface
    private interface RowBody {
        void accept(long row, Work work);
    }

    private static void forRows(Parallel parallel, Tensor x, int columns, RowBody body) {
        if (columns == 0) {
            return;
        }
        parallel.forRanges(x.rows(), Math.max(1, TASK_ELEMENTS / columns), (from, to) -> {
            Work work = new Work(columns);
            for (long row = from; row < to; row++) {
                body.accept(row, work);
            }
        });
    }

    /** target = a b in one row. */
    private static void product(MemorySegment a, long aAt, float[] b, MemorySegment target, long targetAt,
            int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(a, aAt + 4L * c).mul(FloatVector.fromArray(SPECIES, b, c)), target,
                    targetAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(a, aAt + 4L * c, lanes).mul(FloatVector.fromArray(SPECIES, b, c)), target,
                    targetAt + 4L * c, lanes);
        }
    }

    /** The function's value and slope at each element of a row. */
    private static final class Work {
        private final int columns;
        private final float[] x;
        private final float[] value;
        private final float[] slope;

        private Work(int columns) {
            this.columns = columns;
            int size = Math.ceilDiv(columns, LANES) * LANES;
            this.x = new float[size];
            this.value = new float[size];
            this.slope = new float[size];
        }

        private void compute(Activation activation, MemorySegment memory, long at) {
            MemorySegment.copy(memory, Memory.FLOAT, at, x, 0, columns);
            switch (activation) {
                case SILU -> timesSigmoid(1);
                case GELU -> gelu();
                case GELU_TANH -> geluTanh();
                case RELU -> relu();
                case GELU_QUICK -> timesSigmoid(QUICK_LINEAR);
                case RELU_SQUARED -> reluSquared();
                case SIGMOID -> sigmoid();
            }
        }

        /** e^min(-x, 80): finite, so that 1 - s = e s holds, which loses nothing where s is near 1. */
        private static FloatVector power(FloatVector x) {
            FloatVector most = FloatVector.broadcast(SPECIES, 80);
            FloatVector negative = x.neg();
            return VectorMath.exp(negative.blend(most, negative.compare(VectorOperators.GT, most)));
        }

        /** s = 1 / (1 + e), e = e^(-factor x): x s, and s + factor x s (e s). */
        private void timesSigmoid(float factor) {
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector v = FloatVector.fromArray(SPECIES, x, c);
                FloatVector e = power(v.mul(factor));
                FloatVector s = FloatVector.broadcast(SPECIES, 1).div(e.add(1f));
                FloatVector f = v.mul(s);
                f.intoArray(value, c);
                f.mul(factor).fma(e.mul(s), s).intoArray(slope, c);
            }
        }

        /** s, and e s s. */
        private void sigmoid() {
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector e = power(FloatVector.fromArray(SPECIES, x, c));
                FloatVector s = FloatVector.broadcast(SPECIES, 1).div(e.add(1f));
                s.intoArray(value, c);
                e.mul(s).mul(s).intoArray(slope, c);
            }
        }

        private void reluSquared() {
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector f = VectorMath.larger(FloatVector.zero(SPECIES), FloatVector.fromArray(SPECIES, x, c));
                f.mul(f).intoArray(value, c);
                f.add(f).intoArray(slope, c);
            }
        }

        /** x Phi(x), and Phi(x) + x phi(x), Phi the normal distribution and phi its density. */
        private void gelu() {
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector v = FloatVector.fromArray(SPECIES, x, c);
                VectorMath.exp(v.mul(v).mul(-0.5f)).mul(v).mul(DENSITY).intoArray(slope, c);
            }
            for (int c = 0; c < x.length; c += LANES) {
                VectorMath.normalTail(FloatVector.fromArray(SPECIES, x, c).abs()).intoArray(value, c);
            }
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector v = FloatVector.fromArray(SPECIES, x, c);
                FloatVector tail = FloatVector.fromArray(SPECIES, value, c);
                FloatVector phi = tail.neg().add(1f).blend(tail, v.compare(VectorOperators.LT, 0f));
                FloatVector.fromArray(SPECIES, slope, c).add(phi).intoArray(slope, c);
                v.mul(phi).intoArray(value, c);
            }
        }

        /** s = 1 / (1 + e), e = e^-2u, 2u = x (TANH_LINEAR + TANH_CUBIC x^2): x s, and s + x s (e s) (2u)'. */
        private void geluTanh() {
            FloatVector linear = FloatVector.broadcast(SPECIES, TANH_LINEAR);
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector v = FloatVector.fromArray(SPECIES, x, c);
                FloatVector square = v.mul(v);
                FloatVector u = v.mul(square.fma(FloatVector.broadcast(SPECIES, TANH_CUBIC), linear));
                FloatVector e = power(u);
                FloatVector s = FloatVector.broadcast(SPECIES, 1).div(e.add(1f));
                FloatVector rise = square.fma(FloatVector.broadcast(SPECIES, 3 * TANH_CUBIC), linear);
                FloatVector f = v.mul(s);
                f.intoArray(value, c);
                f.mul(e.mul(s)).fma(rise, s).intoArray(slope, c);
            }
        }

        private void relu() {
            for (int c = 0; c < x.length; c += LANES) {
                FloatVector v = FloatVector.fromArray(SPECIES, x, c);
                FloatVector zero = FloatVector.zero(SPECIES);
                VectorMath.larger(zero, v).intoArray(value, c);
                zero.blend(1f, v.compare(VectorOperators.GT, 0f)).intoArray(slope, c);
            }
        }
    }
}
