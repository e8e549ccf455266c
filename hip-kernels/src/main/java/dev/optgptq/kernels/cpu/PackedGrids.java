package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.QuantOps.PackedWeights;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Scales and zero points of some neighbouring outputs of a packed layer, unpacked when a group is first met: with act-order
 * groups come in any order.
 */
final class PackedGrids {

    /**
     * Of one group, an element for each output.
     *
     * @param zeros whole numbers
     */
    record Grid(float[] scales, float[] zeros) {}

    private final PackedWeights weights;
    private final long from;
    private final int width;
    private final int capacity;
    private final int centre;
    private final @Nullable Grid[] unpacked;

    /**
     * @param from first output
     * @param width outputs
     * @param capacity of the arrays, at least width; elements beyond it are 0
     * @param centre subtracted from the zero points
     */
    PackedGrids(PackedWeights weights, long from, int width, int capacity, int centre) {
        this.weights = weights;
        this.from = from;
        this.width = width;
        this.capacity = capacity;
        this.centre = centre;
        this.unpacked = new Grid[Math.toIntExact(weights.scales().rows())];
    }

    Grid of(int group) {
        Grid found = unpacked[group];
        if (found == null) {
            found = new Grid(scales(group), zeros(group));
            unpacked[group] = found;
        }
        return found;
    }

    private float[] scales(int group) {
        Tensor scales = weights.scales();
        short[] halves = new short[width];
        MemorySegment.copy(scales.memory(), Memory.SHORT, Memory.row(scales, group) + Short.BYTES * from, halves, 0,
                width);
        float[] wide = new float[capacity];
        for (int c = 0; c < width; c++) {
            wide[c] = Float.float16ToFloat(halves[c]);
        }
        return wide;
    }

    private float[] zeros(int group) {
        int bits = weights.bits();
        Tensor qzeros = weights.qzeros();
        // Outputs begin at a multiple of 32, which begins a word.
        int[] words = new int[Math.ceilDiv(width * bits, Integer.SIZE)];
        MemorySegment.copy(qzeros.memory(), Memory.INT,
                Memory.row(qzeros, group) + from * bits / Integer.SIZE * Integer.BYTES, words, 0, words.length);
        float[] zeros = new float[capacity];
        for (int c = 0; c < width; c++) {
            zeros[c] = ((code(words, c, bits) + weights.zeroOffset()) & mask(bits)) - centre;
        }
        return zeros;
    }

    /** Code c of a stream; bits above it are left. */
    private static int code(int[] words, int c, int bits) {
        int word = c * bits / Integer.SIZE;
        int shift = c * bits % Integer.SIZE;
        int low = words[word] >>> shift;
        return shift + bits > Integer.SIZE ? low | words[word + 1] << (Integer.SIZE - shift) : low;
    }

    static int mask(int bits) {
        return (1 << bits) - 1;
    }
}
