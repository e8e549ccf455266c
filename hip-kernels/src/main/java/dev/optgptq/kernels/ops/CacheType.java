package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import java.util.Locale;

/** The stored type of past keys and values. */
public enum CacheType {
    F32(DType.F32, 32), F16(DType.F16, 16), BF16(DType.BF16, 16),
    /** Codes of 8 bits, with a scale and a minimum in F16 for each token and head. */
    INT8(DType.U8, 8),
    /** Codes of 4 bits, two to a byte, the first in the low bits, with the same. */
    INT4(DType.U8, 4);

    /** Scale and minimum of one token and head, F16 each. */
    public static final int GRID = 2;

    private final DType dtype;
    private final int bits;

    CacheType(DType dtype, int bits) {
        this.dtype = dtype;
        this.bits = bits;
    }

    /** Of the tensors that hold it. */
    public DType dtype() {
        return dtype;
    }

    /** Of one element. */
    public int bits() {
        return bits;
    }

    /** Whether elements are codes, with a grid for each token and head. */
    public boolean isQuantized() {
        return dtype == DType.U8;
    }

    /** The largest code. */
    public int maxCode() {
        return (1 << bits) - 1;
    }

    /** Elements of the dtype that hold one head of one token. */
    public int width(int headDim) {
        return isQuantized() ? Math.ceilDiv(headDim * bits, Byte.SIZE) : headDim;
    }

    /** Bytes of the keys and values of one token and head. */
    public long bytesPerHead(int headDim) {
        return 2L * ((long) width(headDim) * dtype.bytes() + (isQuantized() ? GRID * DType.F16.bytes() : 0));
    }

    /** Its name on the command line. */
    public String word() {
        return switch (this) {
            case F32 -> "float32";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            case INT8, INT4 -> name().toLowerCase(Locale.ROOT);
        };
    }
}
