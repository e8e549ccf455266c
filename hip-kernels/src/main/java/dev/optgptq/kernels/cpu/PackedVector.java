package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.CpuPackedLinear.BLOCK;
import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * One row times a panel of packed weights whose codes do not straddle words (2, 4 and 8 bits). Codes are centred: with the
 * highest bit of each flipped, a shift to the left and an arithmetic one to the right leave code - 2^(bits-1), a step less
 * than masking and subtracting, and without a large common part that would cancel.
 */
final class PackedVector {

    /** Outputs of a strip, two vectors; 32 outputs are whole strips. */
    private static final int STRIP = 2 * LANES;
    private static final long VECTOR_BYTES = (long) LANES * Float.BYTES;

    private final CpuPackedLinear.Panel panel;
    private final int bits;
    private final float[] x;
    private final PackedGrids grids;
    private final float[] sums;

    /** @param row F32 [1, in] */
    PackedVector(CpuPackedLinear.Panel panel, Tensor row) {
        this.panel = panel;
        this.bits = panel.weights().bits();
        this.x = new float[panel.inputs()];
        MemorySegment.copy(row.memory(), Memory.FLOAT, 0, x, 0, x.length);
        this.grids = new PackedGrids(panel.weights(), panel.from(), panel.outputs(), panel.outputs(), 1 << (bits - 1));
        this.sums = new float[panel.outputs()];
    }

    /** Of each output of the panel. */
    float[] sums() {
        for (int block = 0; block < panel.blocks(); block++) {
            if (panel.isUniform(block)) {
                uniform(block, grids.of(panel.groupOf()[block * BLOCK]));
            } else {
                mixed(block);
            }
        }
        return sums;
    }

    /** The high bit of every code of a word. */
    private static int highBits(int bits) {
        int all = 0;
        for (int bit = bits - 1; bit < Integer.SIZE; bit += bits) {
            all |= 1 << bit;
        }
        return all;
    }

    /** One group: sums += scale (sum of x code - zero sum of x). */
    private void uniform(int block, PackedGrids.Grid grid) {
        float ofX = 0;
        for (int i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
            ofX += x[i];
        }
        Tensor qweight = panel.weights().qweight();
        long stride = qweight.stride() * Integer.BYTES;
        for (int c = 0; c < sums.length; c += STRIP) {
            strip(qweight.memory(), panel.words(block) + (long) c * Integer.BYTES, stride, block * BLOCK, ofX, grid, c);
        }
    }

    private void strip(MemorySegment words, long at, long stride, int firstInput, float ofX, PackedGrids.Grid grid,
            int c) {
        int flip = highBits(bits);
        int keep = Integer.SIZE - bits;
        FloatVector first = FloatVector.zero(SPECIES);
        FloatVector second = FloatVector.zero(SPECIES);
        int input = firstInput;
        for (int word = 0; word < bits; word++) {
            IntVector low = Memory.loadInts(words, at + word * stride).lanewise(VectorOperators.XOR, flip);
            IntVector high = Memory.loadInts(words, at + word * stride + VECTOR_BYTES).lanewise(VectorOperators.XOR,
                    flip);
            for (int shift = keep; shift >= 0; shift -= bits) {
                FloatVector factor = FloatVector.broadcast(SPECIES, x[input++]);
                first = code(low, shift, keep).fma(factor, first);
                second = code(high, shift, keep).fma(factor, second);
            }
        }
        add(first, ofX, grid, c);
        add(second, ofX, grid, c + LANES);
    }

    private static FloatVector code(IntVector words, int shift, int keep) {
        return (FloatVector) words.lanewise(VectorOperators.LSHL, shift).lanewise(VectorOperators.ASHR, keep)
                .convert(VectorOperators.I2F, 0);
    }

    private void add(FloatVector ofCodes, float ofX, PackedGrids.Grid grid, int c) {
        FloatVector zeros = FloatVector.fromArray(SPECIES, grid.zeros(), c);
        FloatVector exact = zeros.neg().fma(FloatVector.broadcast(SPECIES, ofX), ofCodes);
        FloatVector.fromArray(SPECIES, grid.scales(), c).fma(exact, FloatVector.fromArray(SPECIES, sums, c))
                .intoArray(sums, c);
    }

    /** A group for each input. */
    private void mixed(int block) {
        int flip = highBits(bits);
        int keep = Integer.SIZE - bits;
        int codes = Integer.SIZE / bits;
        Tensor qweight = panel.weights().qweight();
        long stride = qweight.stride() * Integer.BYTES;
        for (int i = 0; i < BLOCK; i++) {
            int input = block * BLOCK + i;
            PackedGrids.Grid grid = grids.of(panel.groupOf()[input]);
            FloatVector factor = FloatVector.broadcast(SPECIES, x[input]);
            int shift = keep - i % codes * bits;
            long at = panel.words(block) + i / codes * stride;
            for (int c = 0; c < sums.length; c += LANES) {
                IntVector words = Memory.loadInts(qweight.memory(), at + (long) c * Integer.BYTES)
                        .lanewise(VectorOperators.XOR, flip);
                FloatVector weight = code(words, shift, keep).sub(FloatVector.fromArray(SPECIES, grid.zeros(), c))
                        .mul(FloatVector.fromArray(SPECIES, grid.scales(), c));
                weight.fma(factor, FloatVector.fromArray(SPECIES, sums, c)).intoArray(sums, c);
            }
        }
    }
}
