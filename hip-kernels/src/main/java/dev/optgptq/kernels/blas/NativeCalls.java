package dev.optgptq.kernels.blas;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Shared by the calls of Fortran BLAS and LAPACK. */
final class NativeCalls {

    private NativeCalls() {}

    /** A CHARACTER argument, which is passed by address. */
    static MemorySegment letter(Arena arena, char letter) {
        return arena.allocateFrom(ValueLayout.JAVA_BYTE, (byte) letter);
    }

    /** Rethrows what a method handle threw; handles declare Throwable. */
    static RuntimeException unexpected(Throwable e) {
        if (e instanceof RuntimeException runtime) {
            return runtime;
        }
        if (e instanceof Error error) {
            throw error;
        }
        return new IllegalStateException("a native call threw", e);
    }
}
