package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.CpuPackedLinear.BLOCK;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

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
    private final PackedCodes codes;
    /** [rows, outputs]. */
    private final float[] sums;
    /** The block's part of x, [rows, BLOCK]. */
    private final float[] inputs;
    /** [BLOCK, STRIP]. */
    private final float[] weights = new float[BLOCK * STRIP];

    /** @param x F32, F16 or BF16 [rows, in] */
    PackedMatrix(CpuPackedLinear.Panel panel, Tensor x) {
        this.panel = panel;
        this.x = x;
        this.rows = (int) x.rows();
        this.grids = new PackedGrids(panel.weights(), panel.from(), panel.outputs(), panel.outputs(),
                PackedCodes.centre(panel.weights().bits()));
        this.codes = new PackedCodes(panel.weights().bits());
        this.sums = new float[rows * panel.outputs()];
        this.inputs = new float[rows * BLOCK];
    }

    /** Of each row and output of the panel, [rows, outputs]. */
    float[] sums() {
        for (int block = 0; block < panel.blocks(); block++) {
            for (int r = 0; r < rows; r++) {
                PackedRows.read(x, r, (long) block * BLOCK, BLOCK, inputs, r * BLOCK);
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
        if (!panel.isUniform(block)) {
            mixed(block, c);
            return;
        }
        PackedGrids.Grid grid = grids.of(panel.groupOf()[block * BLOCK]);
        for (int v = 0; v < STRIP; v += LANES) {
            // A constant for the compiler, which then unrolls all loops over codes.
            switch (panel.weights().bits()) {
                case 2 -> uniform(2, block, c, v, grid);
                case 3 -> uniform(3, block, c, v, grid);
                case 4 -> uniform(4, block, c, v, grid);
                default -> uniform(8, block, c, v, grid);
            }
        }
    }

    /** One group: scale code - scale zero, both products and their difference exact. */
    private void uniform(int bits, int block, int c, int v, PackedGrids.Grid grid) {
        MemorySegment words = panel.weights().qweight().memory();
        long stride = panel.weights().qweight().stride() * Integer.BYTES;
        long at = panel.words(block) + (long) (c + v) * Integer.BYTES;
        FloatVector scale = FloatVector.fromArray(SPECIES, grid.scales(), c + v);
        FloatVector offset = FloatVector.fromArray(SPECIES, grid.zeros(), c + v).mul(scale).neg();
        int target = v;
        int bit = 0;
        for (int word = 0; word < bits; word++) {
            IntVector stream = codes.words(words, at + word * stride, word);
            int whole = (Integer.SIZE - bit) / bits;
            for (int i = 0; i < whole; i++) {
                PackedCodes.within(stream, bit + i * bits, bits).fma(scale, offset).intoArray(weights,
                        target + i * STRIP);
            }
            target += whole * STRIP;
            bit += whole * bits;
            if (bit < Integer.SIZE) {
                IntVector next = codes.words(words, at + (word + 1) * stride, word + 1);
                PackedCodes.across(stream, next, bit, bits).fma(scale, offset).intoArray(weights, target);
                target += STRIP;
                bit += bits;
            }
            bit -= Integer.SIZE;
        }
    }

    /** A group for each input. */
    private void mixed(int block, int c) {
        int bits = panel.weights().bits();
        MemorySegment memory = panel.weights().qweight().memory();
        long stride = panel.weights().qweight().stride() * Integer.BYTES;
        for (int i = 0; i < BLOCK; i++) {
            PackedGrids.Grid grid = grids.of(panel.groupOf()[block * BLOCK + i]);
            int word = i * bits / Integer.SIZE;
            int bit = i * bits % Integer.SIZE;
            for (int v = 0; v < STRIP; v += LANES) {
                long at = panel.words(block) + word * stride + (long) (c + v) * Integer.BYTES;
                IntVector words = codes.words(memory, at, word);
                FloatVector code = bit + bits <= Integer.SIZE
                        ? PackedCodes.within(words, bit, bits)
                        : PackedCodes.across(words, codes.words(memory, at + stride, word + 1), bit, bits);
                code.sub(FloatVector.fromArray(SPECIES, grid.zeros(), c + v))
                        .mul(FloatVector.fromArray(SPECIES, grid.scales(), c + v))
                        .intoArray(weights, i * STRIP + v);
            }
        }
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
