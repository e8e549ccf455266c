package dev.optgptq.kernels.gpu.rtc;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * A run-time compiler, hiprtc or NVRTC, which have the same calls with different prefixes. Compiling can crash the
 * process: AMD's does so for an unknown architecture. So this class is used only in a child process.
 */
final class RtcLibrary {

    private final Rtc rtc;
    private final NativeLibrary library;

    RtcLibrary(Rtc rtc, NativeLibrary library) {
        this.rtc = rtc;
        this.library = library;
    }

    /**
     * The result of a compilation.
     *
     * @param code empty when it failed
     */
    record Result(boolean succeeded, byte[] code, String log) {}

    Result compile(KernelSource source, List<String> options) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = arena.allocate(JAVA_LONG);
            check("create program",
                    (int) function("CreateProgram", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS).invokeExact(
                            handle, arena.allocateFrom(source.text()), arena.allocateFrom(source.name() + ".hip"), 0,
                            MemorySegment.NULL, MemorySegment.NULL));
            long program = handle.get(JAVA_LONG, 0);
            MemorySegment array = arena.allocate(ADDRESS, options.size());
            for (int i = 0; i < options.size(); i++) {
                array.setAtIndex(ADDRESS, i, arena.allocateFrom(options.get(i)));
            }
            int status = (int) function("CompileProgram", JAVA_LONG, JAVA_INT, ADDRESS).invokeExact(program,
                    options.size(), array);
            String log = log(program);
            if (status != 0) {
                return new Result(false, new byte[0], meaning(status) + (log.isEmpty() ? "" : "\n" + log));
            }
            byte[] code = read(program, rtc.codeCall());
            check("destroy program", (int) function("DestroyProgram", ADDRESS).invokeExact(handle));
            return new Result(true, code, log);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private String log(long program) {
        String text = new String(read(program, "ProgramLog"), java.nio.charset.StandardCharsets.UTF_8);
        int end = text.indexOf('\0');
        return (end < 0 ? text : text.substring(0, end)).strip();
    }

    private byte[] read(long program, String what) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment size = arena.allocate(JAVA_LONG);
            check("size of " + what, (int) function("Get" + what + "Size", JAVA_LONG, ADDRESS).invokeExact(program,
                    size));
            MemorySegment bytes = arena.allocate(Math.max(1, size.get(JAVA_LONG, 0)));
            check(what, (int) function("Get" + what, JAVA_LONG, ADDRESS).invokeExact(program, bytes));
            return bytes.asSlice(0, size.get(JAVA_LONG, 0)).toArray(JAVA_BYTE);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private void check(String what, int status) {
        if (status != 0) {
            throw new IllegalStateException(what + " failed with code " + status + ", " + meaning(status));
        }
    }

    private String meaning(int status) {
        try {
            MethodHandle text = library.function(rtc.prefix() + "GetErrorString", ADDRESS, JAVA_INT);
            return NativeLibrary.text((MemorySegment) text.invokeExact(status));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private MethodHandle function(String name, MemoryLayout... arguments) {
        return library.function(rtc.prefix() + name, JAVA_INT, arguments);
    }
}
