package dev.optgptq.kernels.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.Set;

/**
 * The handlers of the signals that the JVM lives on: null checks and safepoints raise SIGSEGV by design, and a library that puts
 * its own crash reporter there ends the JVM within seconds.
 */
public final class Signals {

    /** Linux's numbers. */
    private static final Map<String, Integer> OF_THE_JVM = new LinkedHashMap<>(
            Map.of("SIGHUP", 1, "SIGILL", 4, "SIGBUS", 7,
                    "SIGFPE", 8, "SIGSEGV", 11));
    /** More than struct sigaction takes on any Linux; the handler is its first field. */
    private static final long ACTION_BYTES = 256;

    private final Arena arena = Arena.ofAuto();
    private final MethodHandle action;
    private final Map<String, MemorySegment> kept = new LinkedHashMap<>();

    private Signals(Linker linker) {
        action = linker.downcallHandle(linker.defaultLookup().findOrThrow("sigaction"),
                FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
        OF_THE_JVM.forEach((name, number) -> kept.put(name, now(number)));
    }

    /** As they are now. */
    public static Signals keep() {
        return new Signals(Linker.nativeLinker());
    }

    /** Gives back those that were replaced since; their names. */
    public Set<String> restore() {
        Set<String> changed = new TreeSet<>();
        kept.forEach((name, before) -> {
            int number = OF_THE_JVM.getOrDefault(name, 0);
            if (!now(number).get(ADDRESS, 0).equals(before.get(ADDRESS, 0))) {
                call(number, before, MemorySegment.NULL);
                changed.add(name);
            }
        });
        return changed;
    }

    private MemorySegment now(int number) {
        MemorySegment found = arena.allocate(ACTION_BYTES, 16);
        call(number, MemorySegment.NULL, found);
        return found;
    }

    private void call(int number, MemorySegment set, MemorySegment get) {
        try {
            if ((int) action.invokeExact(number, set, get) != 0) {
                throw new IllegalStateException("sigaction of signal " + number + " failed");
            }
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
