package dev.optgptq.formats.packed;

import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Scales as float16, the type that ops use. Other float types are rounded to it, as in runtimes that compute in
 * float16; a scale that float16 cannot represent to half its last digit is refused.
 */
final class ScaleReader {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    /** Largest relative error of rounding to the 11 digits of float16. */
    private static final double HALF_DIGIT = 0x1p-11;

    private ScaleReader() {}

    /**
     * The data of scales as float16, in the order they are stored: the stored bytes where they are that. Throws UserError NUMERIC for a
     * scale that is not finite, UNSUPPORTED_MODEL for one that float16 cannot hold.
     *
     * @param outputAxis which of the two dimensions counts outputs; the other counts groups
     * @param unit what a scale is of the stored one, a power of two
     */
    static MemorySegment read(TensorView scales, int outputAxis, double unit) {
        long count = scales.shape().elements();
        boolean stored = scales.dtype() == DType.F16 && unit == 1;
        MemorySegment rounded = stored ? scales.data() : Arena.ofAuto().allocate(count * Short.BYTES, Short.BYTES);
        for (long i = 0; i < count; i++) {
            double scale = unit * value(scales, i);
            if (!Double.isFinite(scale)) {
                throw new UserError(Code.NUMERIC, LinearTensors.place(scales) + "expected finite scales, found "
                        + scale + at(scales, outputAxis, i)
                        + "; the checkpoint was damaged or written by a run that failed, quantize"
                        + " again");
            }
            if (!stored) {
                rounded.set(SHORT, i * Short.BYTES, round(scale, scales, outputAxis, i));
            }
        }
        return rounded;
    }

    /** The most by which a scale changes as it is rounded, relative to it. */
    static double change(TensorView scales, double unit) {
        double most = 0;
        if (scales.dtype() != DType.F16) {
            for (long i = 0; i < scales.shape().elements(); i++) {
                double scale = unit * value(scales, i);
                double rounded = Floats.fromF16(Floats.toF16((float) scale));
                most = Math.max(most, scale == 0 ? 0 : Math.abs(rounded - scale) / Math.abs(scale));
            }
        }
        return most;
    }

    private static double value(TensorView scales, long i) {
        return StoredFloats.get(scales.data(), scales.dtype(), i);
    }

    private static short round(double scale, TensorView scales, int outputAxis, long i) {
        short half = Floats.toF16((float) scale);
        double change = Math.abs(Floats.fromF16(half) - scale);
        // Rounding through a float may round twice, which affects only lower digits.
        if (change > HALF_DIGIT * Math.abs(scale) * (1 + 0x1p-12)) {
            throw new UserError(Code.UNSUPPORTED_MODEL,
                    LinearTensors.place(scales) + "expected scales that float16"
                            + " holds, from 6.1e-5 to 65504 or 0, found " + scale + at(scales, outputAxis, i) + " in "
                            + scales.dtype()
                            + "; quantize the source model again");
        }
        return half;
    }

    private static String at(TensorView scales, int outputAxis, long i) {
        long columns = scales.shape().dimension(1);
        long[] place = {i / columns, i % columns};
        return " at group " + place[1 - outputAxis] + ", output " + place[outputAxis];
    }
}
