package dev.optgptq.kernels.cpu.loops;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.optgptq.kernels.FloatRounding;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** Rows of 16-bit floats to and from F32, with the bits that FloatRounding and Float.float16ToFloat give. */
public final class HalfVectors {

    private static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, SPECIES.vectorShape());
    /** As many shorts as a vector has floats. */
    private static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class,
            VectorShape.forBitSize(SPECIES.vectorBitSize() / 2));

    private HalfVectors() {}

    public static void widenBf16(MemorySegment from, long fromAt, MemorySegment to, long toAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(bf16(from, fromAt + 2L * c), to, toAt + 4L * c);
        }
        for (; c < columns; c++) {
            to.set(Memory.FLOAT, toAt + 4L * c, FloatRounding.bf16ToFloat(from.get(Memory.SHORT, fromAt + 2L * c)));
        }
    }

    public static void widenFloat16(MemorySegment from, long fromAt, MemorySegment to, long toAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(float16(from, fromAt + 2L * c), to, toAt + 4L * c);
        }
        for (; c < columns; c++) {
            to.set(Memory.FLOAT, toAt + 4L * c, Float.float16ToFloat(from.get(Memory.SHORT, fromAt + 2L * c)));
        }
    }

    public static void narrowToBf16(MemorySegment from, long fromAt, MemorySegment to, long toAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector value = Memory.load(from, fromAt + 4L * c);
            IntVector bits = value.reinterpretAsInts();
            IntVector upper = bits.lanewise(VectorOperators.LSHR, 16);
            IntVector rounded = bits.add(upper.and(1)).add(0x7fff).lanewise(VectorOperators.LSHR, 16);
            IntVector narrow = rounded.blend(upper.or(0x40), value.test(VectorOperators.IS_NAN).cast(INTS));
            narrow.convertShape(VectorOperators.I2S, SHORTS, 0).reinterpretAsShorts().intoMemorySegment(to,
                    toAt + 2L * c, LITTLE_ENDIAN);
        }
        for (; c < columns; c++) {
            to.set(Memory.SHORT, toAt + 2L * c, FloatRounding.floatToBf16(from.get(Memory.FLOAT, fromAt + 4L * c)));
        }
    }

    /** The next LANES of BF16, widened. */
    public static FloatVector bf16(MemorySegment from, long offset) {
        return bits(from, offset).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }

    /**
     * The next LANES of F16, widened. Exponent and fraction move to their places in a float 2^112 too small; the product also makes
     * subnormals right.
     */
    public static FloatVector float16(MemorySegment from, long offset) {
        IntVector bits = bits(from, offset);
        IntVector magnitude = bits.and(0x7fff);
        IntVector scaled = magnitude.lanewise(VectorOperators.LSHL, 13).reinterpretAsFloats().mul(0x1p112f)
                .reinterpretAsInts();
        // Infinity and NaN have all exponent bits set in either format.
        IntVector special = magnitude.lanewise(VectorOperators.LSHL, 13).or(0x7f800000);
        IntVector sign = bits.and(0x8000).lanewise(VectorOperators.LSHL, 16);
        return scaled.blend(special, magnitude.compare(VectorOperators.GE, 0x7c00)).or(sign).reinterpretAsFloats();
    }

    /** The next LANES patterns, each in the lower half of an int. */
    private static IntVector bits(MemorySegment from, long offset) {
        return ShortVector.fromMemorySegment(SHORTS, from, offset, LITTLE_ENDIAN)
                .convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0).reinterpretAsInts();
    }
}
