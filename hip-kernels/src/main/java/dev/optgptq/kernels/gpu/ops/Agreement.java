package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Inputs on which kernels are tried before they are used, and whether two of them agree. */
record Agreement(GpuContext context) {

    /** Fills F32, F16 or BF16 with values from -1 to 1, without a pattern that a wrong result could share. */
    void fill(Tensor target) {
        fill(target, 0, 1);
    }

    /** The same with values from base - size to base + size. */
    void fill(Tensor target, float base, float size) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(target.elements() * target.dtype().bytes(), Float.BYTES);
            for (long i = 0; i < target.elements(); i++) {
                float value = base + size * ((i * 7919 % 10007) % 201 / 100f - 1);
                switch (target.dtype()) {
                    case F16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toF16(value));
                    case BF16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toBF16(value));
                    case F32 -> bytes.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
                    default -> throw new IllegalArgumentException("no values of " + target);
                }
            }
            context.upload(bytes, target);
        }
    }

    /** Whether no element of two F32 is farther from the other than this, relative to the largest expected one. */
    boolean isClose(Tensor found, Tensor expected, float tolerance) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment a = host.allocate(ValueLayout.JAVA_FLOAT, found.elements());
            MemorySegment b = host.allocate(ValueLayout.JAVA_FLOAT, found.elements());
            context.download(found, a);
            context.download(expected, b);
            float largest = 0;
            for (long i = 0; i < found.elements(); i++) {
                largest = Math.max(largest, Math.abs(b.getAtIndex(ValueLayout.JAVA_FLOAT, i)));
            }
            for (long i = 0; i < found.elements(); i++) {
                float difference = a.getAtIndex(ValueLayout.JAVA_FLOAT, i) - b.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                // Written so that NaN is not close.
                if (!(Math.abs(difference) <= tolerance * largest)) {
                    return false;
                }
            }
            return true;
        }
    }
}
