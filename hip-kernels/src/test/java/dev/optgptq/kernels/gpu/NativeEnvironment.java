package dev.optgptq.kernels.gpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.invoke.MethodHandle;

/** Environment variables as the native code of this process sees them, which Java itself cannot change. */
final class NativeEnvironment {

    private NativeEnvironment() {}

    static void set(String name, String value) {
        try (Arena arena = Arena.ofConfined()) {
            check((int) function("setenv", ADDRESS, ADDRESS, JAVA_INT).invokeExact(arena.allocateFrom(name),
                    arena.allocateFrom(value), 1));
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    static void unset(String name) {
        try (Arena arena = Arena.ofConfined()) {
            check((int) function("unsetenv", ADDRESS).invokeExact(arena.allocateFrom(name)));
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static MethodHandle function(String name, MemoryLayout... arguments) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().findOrThrow(name),
                FunctionDescriptor.of(JAVA_INT, arguments));
    }

    private static void check(int status) {
        if (status != 0) {
            throw new IllegalStateException("status " + status);
        }
    }
}
