package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.Floats;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The biases of MLX checkpoints, float16 [out, groups]: bias = -scale * zero, rounded. A symmetric grid's zero point is a power of two,
 * so that nothing is rounded. Else a bias is off by at most 2^-11 of itself: 0.0073 of a step at 4 bits, 0.13 at 8.
 */
final class MlxBiases {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private MlxBiases() {}

    /** The definition: the product has at most 19 digits, so a float holds it and it is rounded once. 0 is never negative. */
    static short of(short scale, int zero) {
        return Floats.toF16(0f - Floats.fromF16(scale) * zero);
    }

    /**
     * Of a linear whose zero points are stored as they are.
     *
     * @param name of the tensor, for messages
     * @param to float16 [out, groups]
     * @throws UserError UNSUPPORTED_MODEL for a bias beyond float16
     */
    static void of(String name, PackedLinear linear, MemorySegment to) {
        int groups = linear.groups();
        int outputs = linear.outputs();
        MemorySegment zeros = MemorySegment.ofArray(new int[groups * outputs]);
        Packing.unpackZeros(linear.qzeros(), linear.bits(), groups, outputs, linear.zeroOffset(), zeros);
        for (int group = 0; group < groups; group++) {
            for (int output = 0; output < outputs; output++) {
                long at = (long) group * outputs + output;
                put(name, groups, group, output, linear.scales().get(SHORT, Short.BYTES * at),
                        zeros.get(INT, Integer.BYTES * at), to);
            }
        }
    }

    /**
     * Of a symmetric grid, from its scales alone.
     *
     * @param scales float16 [groups, out]
     * @param to float16 [out, groups]
     * @throws UserError UNSUPPORTED_MODEL for a bias beyond float16
     */
    static void ofSymmetric(String name, PackedLayout layout, MemorySegment scales, MemorySegment to) {
        for (int group = 0; group < layout.groups(); group++) {
            for (int output = 0; output < layout.outputs(); output++) {
                put(name, layout.groups(), group, output,
                        scales.get(SHORT, Short.BYTES * ((long) group * layout.outputs() + output)),
                        1 << (layout.bits() - 1), to);
            }
        }
    }

    private static void put(String name, int groups, int group, int output, short scale, int zero, MemorySegment to) {
        short bias = of(scale, zero);
        if (!Float.isFinite(Floats.fromF16(bias))) {
            throw new UserError(Code.UNSUPPORTED_MODEL,
                    name + ": expected biases that float16 holds, up to 65504, found "
                            + -Floats.fromF16(scale) * zero + " at group " + group + ", output " + output
                            + "; use format compressed-tensors, which stores zero points");
        }
        to.set(SHORT, Short.BYTES * ((long) output * groups + group), bias);
    }
}
