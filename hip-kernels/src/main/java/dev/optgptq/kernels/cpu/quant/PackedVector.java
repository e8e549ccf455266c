package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.CpuPackedLinear.BLOCK;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** One row times a panel of packed weights, in registers: no weight is written. */
final class PackedVector {

    /** Outputs of a strip, two vectors; 32 outputs are whole strips. */
    private static final int STRIP = 2 * LANES;
    private static final long VECTOR_BYTES = (long) LANES * Float.BYTES;

    private final CpuPackedLinear.Panel panel;
    private final int bits;
    private final PackedCodes codes;
    private final float[] x;
    private final PackedGrids grids;
    private final float[] sums;
    private final float[] strip = new float[STRIP];

    /** @param row F32, F16 or BF16 [1, in] */
    PackedVector(CpuPackedLinear.Panel panel, Tensor row) {
        this.panel = panel;
        this.bits = panel.weights().bits();
        this.codes = new PackedCodes(bits);
        this.x = new float[panel.inputs()];
        PackedRows.read(row, 0, 0, x.length, x, 0);
        this.grids = new PackedGrids(panel.weights(), panel.from(), panel.outputs(), panel.outputs(),
                PackedCodes.centre(bits));
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

    /** One group: sums += scale (sum of x code - zero sum of x). */
    private void uniform(int block, PackedGrids.Grid grid) {
        float ofX = 0;
        for (int i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
            ofX += x[i];
        }
        Tensor qweight = panel.weights().qweight();
        long stride = qweight.stride() * Integer.BYTES;
        for (int c = 0; c < sums.length; c += STRIP) {
            long at = panel.words(block) + (long) c * Integer.BYTES;
            // A constant for the compiler, which then unrolls all loops over codes.
            switch (bits) {
                case 2 -> strip(2, qweight.memory(), at, stride, block * BLOCK);
                case 3 -> strip(3, qweight.memory(), at, stride, block * BLOCK);
                case 4 -> strip(4, qweight.memory(), at, stride, block * BLOCK);
                default -> strip(8, qweight.memory(), at, stride, block * BLOCK);
            }
            add(0, ofX, grid, c);
            add(LANES, ofX, grid, c);
        }
    }

    /** strip = the sum of x code over a block's inputs. */
    private void strip(int width, MemorySegment words, long at, long stride, int firstInput) {
        FloatVector first = FloatVector.zero(SPECIES);
        FloatVector second = FloatVector.zero(SPECIES);
        int input = firstInput;
        int bit = 0;
        for (int word = 0; word < width; word++) {
            IntVector low = codes.words(words, at + word * stride, word);
            IntVector high = codes.words(words, at + word * stride + VECTOR_BYTES, word);
            int whole = (Integer.SIZE - bit) / width;
            for (int i = 0; i < whole; i++) {
                FloatVector factor = FloatVector.broadcast(SPECIES, x[input + i]);
                first = PackedCodes.within(low, bit + i * width, width).fma(factor, first);
                second = PackedCodes.within(high, bit + i * width, width).fma(factor, second);
            }
            input += whole;
            bit += whole * width;
            if (bit < Integer.SIZE) {
                FloatVector factor = FloatVector.broadcast(SPECIES, x[input++]);
                long next = at + (word + 1) * stride;
                IntVector nextLow = codes.words(words, next, word + 1);
                IntVector nextHigh = codes.words(words, next + VECTOR_BYTES, word + 1);
                first = PackedCodes.across(low, nextLow, bit, width).fma(factor, first);
                second = PackedCodes.across(high, nextHigh, bit, width).fma(factor, second);
                bit += width;
            }
            bit -= Integer.SIZE;
        }
        first.intoArray(strip, 0);
        second.intoArray(strip, LANES);
    }

    private void add(int inStrip, float ofX, PackedGrids.Grid grid, int fromC) {
        int c = fromC + inStrip;
        FloatVector ofCodes = FloatVector.fromArray(SPECIES, strip, inStrip);
        FloatVector zeros = FloatVector.fromArray(SPECIES, grid.zeros(), c);
        FloatVector exact = zeros.neg().fma(FloatVector.broadcast(SPECIES, ofX), ofCodes);
        FloatVector.fromArray(SPECIES, grid.scales(), c).fma(exact, FloatVector.fromArray(SPECIES, sums, c))
                .intoArray(sums, c);
    }

    /** A group for each input. */
    private void mixed(int block) {
        Tensor qweight = panel.weights().qweight();
        long stride = qweight.stride() * Integer.BYTES;
        for (int i = 0; i < BLOCK; i++) {
            int input = block * BLOCK + i;
            PackedGrids.Grid grid = grids.of(panel.groupOf()[input]);
            FloatVector factor = FloatVector.broadcast(SPECIES, x[input]);
            int word = i * bits / Integer.SIZE;
            int bit = i * bits % Integer.SIZE;
            long row = panel.words(block) + word * stride;
            for (int c = 0; c < sums.length; c += LANES) {
                long at = row + (long) c * Integer.BYTES;
                IntVector words = codes.words(qweight.memory(), at, word);
                FloatVector code = bit + bits <= Integer.SIZE
                        ? PackedCodes.within(words, bit, bits)
                        : PackedCodes.across(words, codes.words(qweight.memory(), at + stride, word + 1), bit, bits);
                FloatVector weight = code.sub(FloatVector.fromArray(SPECIES, grid.zeros(), c))
                        .mul(FloatVector.fromArray(SPECIES, grid.scales(), c));
                weight.fma(factor, FloatVector.fromArray(SPECIES, sums, c)).intoArray(sums, c);
            }
        }
    }
}
