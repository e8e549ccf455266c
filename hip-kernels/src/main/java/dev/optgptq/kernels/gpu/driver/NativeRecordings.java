package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/** Stream capture and graphs of HIP and CUDA, whose calls agree. Old runtimes have none. */
final class NativeRecordings implements Recordings {

    /** Calls that do not concern the stream, such as allocations, are permitted meanwhile. */
    private static final int RELAXED = 2;

    private final NativeLibrary vendor;
    private final Statuses statuses;
    private final MethodHandle begin;
    private final MethodHandle end;
    private final MethodHandle instantiate;
    private final MethodHandle launch;
    private final MethodHandle destroyExecutable;
    private final MethodHandle destroyGraph;

    /** UserError DEVICE names the call that the library lacks. */
    NativeRecordings(NativeLibrary vendor, Statuses statuses) {
        this.vendor = vendor;
        this.statuses = statuses;
        begin = either("hipStreamBeginCapture", "cuStreamBeginCapture_v2", JAVA_LONG, JAVA_INT);
        end = either("hipStreamEndCapture", "cuStreamEndCapture", JAVA_LONG, ADDRESS);
        instantiate = either("hipGraphInstantiateWithFlags", "cuGraphInstantiateWithFlags", ADDRESS, JAVA_LONG,
                JAVA_LONG);
        launch = either("hipGraphLaunch", "cuGraphLaunch", JAVA_LONG, JAVA_LONG);
        destroyExecutable = either("hipGraphExecDestroy", "cuGraphExecDestroy", JAVA_LONG);
        destroyGraph = either("hipGraphDestroy", "cuGraphDestroy", JAVA_LONG);
    }

    private MethodHandle either(String hip, String cuda, MemoryLayout... arguments) {
        return vendor.function(List.of(hip, cuda), JAVA_INT, arguments);
    }

    @Override
    public void begin(long stream) {
        try {
            statuses.check("begin of a recording", (int) begin.invokeExact(stream, RELAXED));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long end(long stream) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check("end of a recording", (int) end.invokeExact(stream, out));
            long graph = out.get(JAVA_LONG, 0);
            try {
                statuses.check("instantiation of a recording", (int) instantiate.invokeExact(out, graph, 0L));
                return out.get(JAVA_LONG, 0);
            } finally {
                statuses.check("release of a graph", (int) destroyGraph.invokeExact(graph));
            }
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void replay(long recording, long stream) {
        try {
            statuses.check("launch of a recording", (int) launch.invokeExact(recording, stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void destroy(long recording) {
        try {
            statuses.check("release of a recording", (int) destroyExecutable.invokeExact(recording));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
