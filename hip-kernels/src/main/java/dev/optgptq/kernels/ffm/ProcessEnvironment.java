package dev.optgptq.kernels.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.invoke.MethodHandle;

/** Environment variables as native libraries of this process see them; System.getenv keeps those of the start. */
public final class ProcessEnvironment {

    private ProcessEnvironment() {}

    /** Sets a variable for libraries that are loaded after this, in place of the user's value. */
    public static void set(String name, String value) {
        Linker linker = Linker.nativeLinker();
        MethodHandle setenv = linker.downcallHandle(linker.defaultLookup().findOrThrow("setenv"),
                FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
        try (Arena arena = Arena.ofConfined()) {
            if ((int) setenv.invokeExact(arena.allocateFrom(name), arena.allocateFrom(value), 1) != 0) {
                throw new IllegalStateException("setenv " + name + " failed");
            }
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
