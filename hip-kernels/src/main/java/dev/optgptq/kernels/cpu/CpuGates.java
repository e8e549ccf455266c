package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** clampedSwiglu and gateSigmoid with their gradients, in place; rows in parallel. */
final class CpuGates {

    private CpuGates() {}

    static void clampedSwiglu(Parallel parallel, Tensor gate, Tensor up, float alpha, float limit) {
        int columns = Math.toIntExact(gate.columns());
        Rows.forEach(parallel, gate, row -> swigluRow(gate.memory(), Memory.row(gate, row), up.memory(),
                Memory.row(up, row), alpha, limit, columns));
    }

    /** gate = (u + 1) g / (1 + e^(-alpha g)). */
    private static void swigluRow(MemorySegment gate, long gateAt, MemorySegment up, long upAt, float alpha,
            float limit, int columns) {
        for (int c = 0; c < columns; c += LANES) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector g = Memory.load(gate, gateAt + 4L * c, lanes);
            g = g.blend(limit, g.compare(VectorOperators.GT, limit));
            FloatVector u = CpuLimits.clamped(Memory.load(up, upAt + 4L * c, lanes), limit).add(1f);
            FloatVector activated = g.div(VectorMath.exp(g.mul(-alpha)).add(1f));
            Memory.store(activated.mul(u), gate, gateAt + 4L * c, lanes);
        }
    }

    static void clampedSwigluGradient(Parallel parallel, Tensor gate, Tensor up, float alpha, float limit,
            Tensor dOut) {
        int columns = Math.toIntExact(gate.columns());
        Rows.forEach(parallel, gate, row -> swigluGradientRow(gate.memory(), Memory.row(gate, row), up.memory(),
                Memory.row(up, row), alpha, limit, dOut.memory(), Memory.row(dOut, row), columns));
    }

    private static void swigluGradientRow(MemorySegment gate, long gateAt, MemorySegment up, long upAt, float alpha,
            float limit, MemorySegment dOut, long dAt, int columns) {
        for (int c = 0; c < columns; c += LANES) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector gateIn = Memory.load(gate, gateAt + 4L * c, lanes);
            FloatVector upIn = Memory.load(up, upAt + 4L * c, lanes);
            FloatVector d = Memory.load(dOut, dAt + 4L * c, lanes);
            VectorMask<Float> cut = gateIn.compare(VectorOperators.GT, limit);
            FloatVector g = gateIn.blend(limit, cut);
            FloatVector u = CpuLimits.clamped(upIn, limit).add(1f);
            FloatVector e = decay(g.mul(alpha));
            FloatVector s = FloatVector.broadcast(SPECIES, 1).div(e.add(1f));
            FloatVector rise = g.mul(alpha).mul(s).fma(e.mul(s), s);
            Memory.store(u.mul(rise).mul(d).blend(0f, cut), gate, gateAt + 4L * c, lanes);
            Memory.store(g.mul(s).mul(d).blend(0f, upIn.abs().compare(VectorOperators.GT, limit)), up, upAt + 4L * c,
                    lanes);
        }
    }

    /** e^min(-x, 80): finite, so that 1 - s = e s holds for s = 1 / (1 + e), which loses nothing where s is near 1. */
    private static FloatVector decay(FloatVector x) {
        FloatVector negative = x.neg();
        return VectorMath.exp(negative.blend(80f, negative.compare(VectorOperators.GT, 80f)));
    }

    static void gateSigmoid(Parallel parallel, Tensor x, Tensor gate) {
        int columns = Math.toIntExact(x.columns());
        boolean shared = gate.columns() == 1;
        Rows.forEach(parallel, x, row -> {
            long at = Memory.row(x, row);
            if (shared) {
                CpuLimits.scaleRow(x.memory(), at, sigmoid(gate.memory().get(Memory.FLOAT, Memory.row(gate, row))),
                        columns);
            } else {
                gateRow(x.memory(), at, gate.memory(), Memory.row(gate, row), columns);
            }
        });
    }

    private static void gateRow(MemorySegment x, long xAt, MemorySegment gate, long gateAt, int columns) {
        for (int c = 0; c < columns; c += LANES) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector divisor = VectorMath.exp(Memory.load(gate, gateAt + 4L * c, lanes).neg()).add(1f);
            Memory.store(Memory.load(x, xAt + 4L * c, lanes).div(divisor), x, xAt + 4L * c, lanes);
        }
    }

    static void gateSigmoidGradient(Parallel parallel, Tensor x, Tensor gate, Tensor d) {
        int columns = Math.toIntExact(x.columns());
        boolean shared = gate.columns() == 1;
        if (shared && columns == 0) {
            for (long row = 0; row < x.rows(); row++) {
                gate.memory().set(Memory.FLOAT, Memory.row(gate, row), 0);
            }
        }
        Rows.forEach(parallel, x, row -> {
            long gateAt = Memory.row(gate, row);
            long dAt = Memory.row(d, row);
            if (shared) {
                float product = dotRow(x.memory(), Memory.row(x, row), d.memory(), dAt, columns);
                double s = 1 / (1 + Math.exp(-gate.memory().get(Memory.FLOAT, gateAt)));
                CpuLimits.scaleRow(d.memory(), dAt, (float) s, columns);
                gate.memory().set(Memory.FLOAT, gateAt, (float) (product * s * (1 - s)));
            } else {
                gateGradientRow(x.memory(), Memory.row(x, row), gate.memory(), gateAt, d.memory(), dAt, columns);
            }
        });
    }

    /** The inner product of two rows. */
    static float dotRow(MemorySegment x, long xAt, MemorySegment y, long yAt, int columns) {
        FloatVector sum = FloatVector.zero(SPECIES);
        for (int c = 0; c < columns; c += LANES) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            sum = Memory.load(x, xAt + 4L * c, lanes).fma(Memory.load(y, yAt + 4L * c, lanes), sum);
        }
        return VectorMath.sum(sum);
    }

    /** gate = x d e s^2 and d = d s. */
    private static void gateGradientRow(MemorySegment x, long xAt, MemorySegment gate, long gateAt, MemorySegment d,
            long dAt, int columns) {
        for (int c = 0; c < columns; c += LANES) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector e = decay(Memory.load(gate, gateAt + 4L * c, lanes));
            FloatVector s = FloatVector.broadcast(SPECIES, 1).div(e.add(1f));
            FloatVector product = Memory.load(d, dAt + 4L * c, lanes).mul(s);
            Memory.store(Memory.load(x, xAt + 4L * c, lanes).mul(product).mul(e.mul(s)), gate, gateAt + 4L * c,
                    lanes);
            Memory.store(product, d, dAt + 4L * c, lanes);
        }
    }

    private static float sigmoid(float x) {
        return (float) (1 / (1 + Math.exp(-x)));
    }
}
