package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;

/** The calls that both vendors have, bound to a library, and those of simple shapes made and checked. */
final class DriverCalls {

    private final NativeLibrary vendor;
    private final Api api;
    private final Statuses statuses;
    private final Map<Call, MethodHandle> calls = new EnumMap<>(Call.class);

    DriverCalls(NativeLibrary vendor, Api api, Statuses statuses) {
        this.vendor = vendor;
        this.api = api;
        this.statuses = statuses;
    }

    /** Looks up some of the calls. UserError DEVICE names the one that the library lacks. */
    void bind(Set<Call> wanted) {
        for (Call call : wanted) {
            calls.computeIfAbsent(call, key -> vendor.function(api.symbol(key), JAVA_INT,
                    key.arguments.toArray(new MemoryLayout[0])));
        }
    }

    /** A call that is bound. */
    MethodHandle handle(Call call) {
        MethodHandle handle = calls.get(call);
        if (handle == null) {
            throw new IllegalStateException(call.name());
        }
        return handle;
    }

    /** Calls and checks the status. */
    void call(Call call, long argument) {
        try {
            statuses.check(call, (int) handle(call).invokeExact(argument));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** What a call with flags makes. */
    long create(Call call, int flags) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(call, (int) handle(call).invokeExact(out, flags));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** What a call writes to its only argument. */
    int readInt(Call call) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            statuses.check(call, (int) handle(call).invokeExact(out));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
