package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * The activation functions, rows in parallel. Each has its own loop: a loop that calls a function object per vector would
 * allocate every vector.
 */
final class CpuActivations {

    /** 2 sqrt(2 / pi), and the same times 0.044715. */
    private static final float TANH_LINEAR = 1.5957692f;
    private static final float TANH_CUBIC = 0.071354814f;
    private static final float QUICK_LINEAR = 1.702f;

    private CpuActivations() {}

    static void activate(Parallel parallel, Activation activation, Tensor x) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> activateRow(activation, x.memory(), Memory.row(x, row), columns));
    }

    static void activateGated(Parallel parallel, Activation activation, Tensor gate, Tensor up) {
        int columns = Math.toIntExact(gate.columns());
        Rows.forEach(parallel, gate, row -> {
            long at = Memory.row(gate, row);
            activateRow(activation, gate.memory(), at, columns);
            CpuElementwise.multiplyRow(gate.memory(), at, up.memory(), Memory.row(up, row), columns);
        });
    }

    private static void activateRow(Activation activation, MemorySegment x, long at, int columns) {
        switch (activation) {
            case SILU -> siluRow(x, at, columns);
            case GELU -> geluRow(x, at, columns);
            case GELU_TANH -> geluTanhRow(x, at, columns);
            case RELU -> reluRow(x, at, columns);
            case GELU_QUICK -> geluQuickRow(x, at, columns);
            case RELU_SQUARED -> reluSquaredRow(x, at, columns);
            case SIGMOID -> sigmoidRow(x, at, columns);
        }
    }

    private static void siluRow(MemorySegment x, long at, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(silu(Memory.load(x, at + 4L * c)), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(silu(Memory.load(x, at + 4L * c, lanes)), x, at + 4L * c, lanes);
        }
    }

    /**
     * Stores by the API's own method, which is always inlined. By then C2 has met 18,000 nodes and inlines nothing else: a
     * call of ours, as the one for the tail is, allocates its vectors.
     */
    private static void geluRow(MemorySegment x, long at, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            gelu(Memory.load(x, at + 4L * c)).intoMemorySegment(x, at + 4L * c, ByteOrder.LITTLE_ENDIAN);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(gelu(Memory.load(x, at + 4L * c, lanes)), x, at + 4L * c, lanes);
        }
    }

    private static void geluTanhRow(MemorySegment x, long at, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(geluTanh(Memory.load(x, at + 4L * c)), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(geluTanh(Memory.load(x, at + 4L * c, lanes)), x, at + 4L * c, lanes);
        }
    }

    private static void reluRow(MemorySegment x, long at, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(relu(Memory.load(x, at + 4L * c)), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(relu(Memory.load(x, at + 4L * c, lanes)), x, at + 4L * c, lanes);
        }
    }

    private static void geluQuickRow(MemorySegment x, long at, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(geluQuick(Memory.load(x, at + 4L * c)), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(geluQuick(Memory.load(x, at + 4L * c, lanes)), x, at + 4L * c, lanes);
        }
    }

    private static void reluSquaredRow(MemorySegment x, long at, int columns) {
        reluRow(x, at, columns);
        CpuElementwise.multiplyRow(x, at, x, at, columns);
    }

    /** x = 1 / (1 + e^-x) in one row. */
    static void sigmoidRow(MemorySegment x, long at, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(sigmoid(Memory.load(x, at + 4L * c)), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(sigmoid(Memory.load(x, at + 4L * c, lanes)), x, at + 4L * c, lanes);
        }
    }

    private static FloatVector sigmoid(FloatVector x) {
        return FloatVector.broadcast(SPECIES, 1).div(VectorMath.exp(x.neg()).add(1f));
    }

    private static FloatVector geluQuick(FloatVector x) {
        return x.div(VectorMath.exp(x.mul(-QUICK_LINEAR)).add(1f));
    }

    private static FloatVector silu(FloatVector x) {
        return x.div(VectorMath.exp(x.neg()).add(1f));
    }

    /** x Phi(x), Phi the normal distribution: 1 - tail(|x|) above 0 and tail(|x|) below, where 1 + erf would cancel. */
    private static FloatVector gelu(FloatVector x) {
        FloatVector tail = VectorMath.normalTail(x.abs());
        FloatVector below = tail.neg().add(1f);
        return x.mul(below.blend(tail, x.compare(VectorOperators.LT, 0f)));
    }

    /** x / (1 + e^(-2u)), which is x / 2 (1 + tanh u), with 2u = x (TANH_LINEAR + TANH_CUBIC x^2). */
    private static FloatVector geluTanh(FloatVector x) {
        FloatVector factor = x.mul(x).fma(FloatVector.broadcast(SPECIES, -TANH_CUBIC),
                FloatVector.broadcast(SPECIES, -TANH_LINEAR));
        return x.div(VectorMath.exp(x.mul(factor)).add(1f));
    }

    private static FloatVector relu(FloatVector x) {
        return VectorMath.larger(FloatVector.zero(SPECIES), x);
    }
}
