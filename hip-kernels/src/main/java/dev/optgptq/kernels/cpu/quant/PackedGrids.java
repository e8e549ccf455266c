package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/**
 * Scales and zero points of some neighbouring outputs of a packed layer, unpacked when a group is first met: with act-order
 * groups come in any order.
 */
final class PackedGrids {

    /** Outputs that are packed into whole words. */
    private static final int RUN = 32;

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
    private final Layout layout;

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
        this.layout = Layout.of(weights.bits());
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
        int[] words = new int[Math.ceilDiv(width * bits, Integer.SIZE) + LANES];
        // Outputs begin at a multiple of 32, which begins a word.
        MemorySegment.copy(qzeros.memory(), Memory.INT,
                Memory.row(qzeros, group) + from * bits / Integer.SIZE * Integer.BYTES, words, 0, words.length - LANES);
        float[] zeros = new float[Math.ceilDiv(capacity, LANES) * LANES];
        for (int c = 0; c < width; c += LANES) {
            IntVector stream = IntVector.fromArray(Memory.INTS, words, c * bits / Integer.SIZE);
            IntVector code = layout.codes(stream, c % RUN).add(weights.zeroOffset()).and(mask(bits)).sub(centre);
            ((FloatVector) code.convert(VectorOperators.I2F, 0)).intoArray(zeros, c);
        }
        return zeros;
    }

    /**
     * Where the codes of a run of 32 outputs lie, for every output of the run.
     *
     * @param word the code's first, counted from the first of the vector that begins there
     * @param shift of that word to the right
     * @param next shift of the next word to the left
     * @param ofNext the bits of the code that the next word then holds
     */
    private record Layout(int[] word, int[] shift, int[] next, int[] ofNext) {

        static Layout of(int bits) {
            Layout layout = new Layout(new int[RUN], new int[RUN], new int[RUN], new int[RUN]);
            for (int i = 0; i < RUN; i++) {
                int bit = i * bits;
                int beyond = bit % Integer.SIZE + bits - Integer.SIZE;
                layout.word[i] = bit / Integer.SIZE - i / LANES * LANES * bits / Integer.SIZE;
                layout.shift[i] = bit % Integer.SIZE;
                layout.next[i] = Integer.SIZE - bit % Integer.SIZE;
                layout.ofNext[i] = beyond > 0 ? mask(bits) & -1 << (bits - beyond) : 0;
            }
            return layout;
        }

        /** The codes of the outputs from i on, a vector of them; bits above them are left. */
        IntVector codes(IntVector words, int i) {
            IntVector at = IntVector.fromArray(Memory.INTS, word, i);
            IntVector low = at.selectFrom(words).lanewise(VectorOperators.LSHR,
                    IntVector.fromArray(Memory.INTS, shift, i));
            IntVector high = at.add(1).selectFrom(words).lanewise(VectorOperators.LSHL,
                    IntVector.fromArray(Memory.INTS, next, i));
            return low.or(high.and(IntVector.fromArray(Memory.INTS, ofNext, i)));
        }
    }

    static int mask(int bits) {
        return (1 << bits) - 1;
    }
}
