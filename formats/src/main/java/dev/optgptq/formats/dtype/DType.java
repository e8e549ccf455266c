package dev.optgptq.formats.dtype;

import java.util.Arrays;
import java.util.Optional;

/** The element types of safetensors, under the names the format gives them. All are little-endian. */
public enum DType {
    BOOL(1), U8(1), I8(1), F8_E5M2(1), F8_E4M3(1), I16(2), U16(2), F16(2), BF16(2), I32(4), U32(4), F32(4), F64(8), I64(
            8), U64(8);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /** Size of one element, in bytes. */
    public int bytes() {
        return bytes;
    }

    /** True for the floating-point types that weights come in and that the devices decode: F16, BF16, F32, F64. */
    public boolean isFloat() {
        return this == F16 || this == BF16 || this == F32 || this == F64;
    }

    public static Optional<DType> named(String name) {
        return Arrays.stream(values()).filter(type -> type.name().equals(name)).findFirst();
    }
}
