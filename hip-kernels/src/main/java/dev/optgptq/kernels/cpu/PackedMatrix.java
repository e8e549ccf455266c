package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.CpuPackedLinear.BLOCK;
import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/** Some rows times a panel of packed weights: 32 inputs of two vectors of outputs are dequantized, then meet every row. */
final class PackedMatrix {

    /** Outputs of a strip, two vectors; 32 outputs are whole strips. */
    private static final int STRIP = 2 * LANES;
    /** Rows that share the loads of weights: 8 sums, enough to hide the latency of an addition. */
    private static final int TOGETHER = 4;

    private final CpuPackedLinear.Panel panel;
    private final Tensor x;
    private final int rows;
    private final PackedGrids grids;
    /** [rows, outputs]. */
    private final float[] sums;
    /** The block's part of x, [rows, BLOCK]. */
    private final float[] inputs;
    /** [BLOCK, STRIP]. */
    private final float[] weights = new float[BLOCK * STRIP];

    /** @param x F32 [rows, in] */
    PackedMatrix(CpuPackedLinear.Panel panel, Tensor x) {
        this.panel = panel;
        this.x = x;
        this.rows = (int) x.rows();
        this.grids = new PackedGrids(panel.weights(), panel.from(), panel.outputs(), panel.outputs(), 0);
        this.sums = new float[rows * panel.outputs()];
        this.inputs = new float[rows * BLOCK];
    }

    /** Of each row and output of the panel, [rows, outputs]. */
    float[] sums() {
        for (int block = 0; block < panel.blocks(); block++) {
            for (int r = 0; r < rows; r++) {
                MemorySegment.copy(x.memory(), Memory.FLOAT, Memory.row(x, r) + (long) block * BLOCK * Float.BYTES,
                        inputs, r * BLOCK, BLOCK);
            }
            for (int c = 0; c < panel.outputs(); c += STRIP) {
                dequantize(block, c);
                int r = 0;
                for (; r <= rows - TOGETHER; r += TOGETHER) {
                    multiplyFour(r, c);
                }
                for (; r < rows; r++) {
                    multiplyOne(r, c);
                }
            }
        }
        return sums;
    }

    private void dequantize(int block, int c) {
        int bits = panel.weights().bits();
        Tensor qweight = panel.weights().qweight();
        long stride = qweight.stride() * Integer.BYTES;
        for (int i = 0; i < BLOCK; i++) {
            PackedGrids.Grid grid = grids.of(panel.groupOf()[block * BLOCK + i]);
            long at = panel.words(block) + i * bits / Integer.SIZE * stride + (long) c * Integer.BYTES;
            int shift = i * bits % Integer.SIZE;
            for (int v = 0; v < STRIP; v += LANES) {
                code(qweight.memory(), at + (long) v * Integer.BYTES, stride, shift, bits)
                        .sub(FloatVector.fromArray(SPECIES, grid.zeros(), c + v))
                        .mul(FloatVector.fromArray(SPECIES, grid.scales(), c + v))
                        .intoArray(weights, i * STRIP + v);
            }
        }
    }

    /** The codes whose lowest bit is the given one of the words at an offset; some straddle the words of the next row. */
    private static FloatVector code(MemorySegment words, long at, long stride, int shift, int bits) {
        IntVector code = Memory.loadInts(words, at).lanewise(VectorOperators.LSHR, shift);
        if (shift + bits > Integer.SIZE) {
            code = code.or(Memory.loadInts(words, at + stride).lanewise(VectorOperators.LSHL, Integer.SIZE - shift));
        }
        return (FloatVector) code.and(PackedGrids.mask(bits)).convert(VectorOperators.I2F, 0);
    }

    /** sums[r .. r + 4, c .. c + STRIP] += inputs weights. */
    private void multiplyFour(int r, int c) {
        int outputs = panel.outputs();
        int at = r * outputs + c;
        FloatVector a0 = FloatVector.fromArray(SPECIES, sums, at);
        FloatVector a1 = FloatVector.fromArray(SPECIES, sums, at + LANES);
        FloatVector b0 = FloatVector.fromArray(SPECIES, sums, at + outputs);
        FloatVector b1 = FloatVector.fromArray(SPECIES, sums, at + outputs + LANES);
        FloatVector c0 = FloatVector.fromArray(SPECIES, sums, at + 2 * outputs);
        FloatVector c1 = FloatVector.fromArray(SPECIES, sums, at + 2 * outputs + LANES);
        FloatVector d0 = FloatVector.fromArray(SPECIES, sums, at + 3 * outputs);
        FloatVector d1 = FloatVector.fromArray(SPECIES, sums, at + 3 * outputs + LANES);
        for (int i = 0; i < BLOCK; i++) {
            FloatVector w0 = FloatVector.fromArray(SPECIES, weights, i * STRIP);
            FloatVector w1 = FloatVector.fromArray(SPECIES, weights, i * STRIP + LANES);
            FloatVector factor = FloatVector.broadcast(SPECIES, inputs[r * BLOCK + i]);
            a0 = w0.fma(factor, a0);
            a1 = w1.fma(factor, a1);
            factor = FloatVector.broadcast(SPECIES, inputs[(r + 1) * BLOCK + i]);
            b0 = w0.fma(factor, b0);
            b1 = w1.fma(factor, b1);
            factor = FloatVector.broadcast(SPECIES, inputs[(r + 2) * BLOCK + i]);
            c0 = w0.fma(factor, c0);
            c1 = w1.fma(factor, c1);
            factor = FloatVector.broadcast(SPECIES, inputs[(r + 3) * BLOCK + i]);
            d0 = w0.fma(factor, d0);
            d1 = w1.fma(factor, d1);
        }
        a0.intoArray(sums, at);
        a1.intoArray(sums, at + LANES);
        b0.intoArray(sums, at + outputs);
        b1.intoArray(sums, at + outputs + LANES);
        c0.intoArray(sums, at + 2 * outputs);
        c1.intoArray(sums, at + 2 * outputs + LANES);
        d0.intoArray(sums, at + 3 * outputs);
        d1.intoArray(sums, at + 3 * outputs + LANES);
    }

    private void multiplyOne(int r, int c) {
        int at = r * panel.outputs() + c;
        FloatVector first = FloatVector.fromArray(SPECIES, sums, at);
        FloatVector second = FloatVector.fromArray(SPECIES, sums, at + LANES);
        for (int i = 0; i < BLOCK; i++) {
            FloatVector factor = FloatVector.broadcast(SPECIES, inputs[r * BLOCK + i]);
            first = FloatVector.fromArray(SPECIES, weights, i * STRIP).fma(factor, first);
            second = FloatVector.fromArray(SPECIES, weights, i * STRIP + LANES).fma(factor, second);
        }
        first.intoArray(sums, at);
        second.intoArray(sums, at + LANES);
    }
}
