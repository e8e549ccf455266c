package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The CUDA driver API. Its contexts belong to threads; the device's primary context is used, as other libraries in the
 * process (cuBLAS) do. Numbers as in cuda.h.
 */
final class CudaApi implements Api {

    private static final int MEMORY_HOST = 1;
    private static final int MEMORY_DEVICE = 2;
    private static final int COMPUTE_MAJOR = 75;
    private static final int COMPUTE_MINOR = 76;
    /** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
    private static final int FUNCTION_SHARED = 8;
    /** What a kernel may have without asking. */
    private static final int FREE_SHARED = 48 << 10;
    private static final int INVALID_CONTEXT = 201;

    private final MethodHandle retain;
    private final MethodHandle release;
    private final MethodHandle setCurrent;
    private final MethodHandle attribute;
    private final MethodHandle copyRows;
    private final MethodHandle canReach;
    private final MethodHandle reach;
    private final MethodHandle copyBetween;
    private final MethodHandle functionAttribute;
    private final MethodHandle errorName;
    private final MethodHandle errorText;
    /** Primary contexts by ordinal, which is also the device's handle. */
    private final Map<Integer, Long> contexts = new ConcurrentHashMap<>();

    CudaApi(NativeLibrary library) {
        retain = library.function("cuDevicePrimaryCtxRetain", JAVA_INT, ADDRESS, JAVA_INT);
        release = library.function("cuDevicePrimaryCtxRelease_v2", JAVA_INT, JAVA_INT);
        setCurrent = library.function("cuCtxSetCurrent", JAVA_INT, JAVA_LONG);
        attribute = library.function("cuDeviceGetAttribute", JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT);
        copyRows = library.function("cuMemcpy2DAsync_v2", JAVA_INT, ADDRESS, JAVA_LONG);
        canReach = library.function("cuDeviceCanAccessPeer", JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT);
        reach = library.function("cuCtxEnablePeerAccess", JAVA_INT, JAVA_LONG, JAVA_INT);
        copyBetween = library.function("cuMemcpyPeerAsync", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                JAVA_LONG, JAVA_LONG);
        functionAttribute = library.function("cuFuncSetAttribute", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT);
        errorName = library.function("cuGetErrorName", JAVA_INT, JAVA_INT, ADDRESS);
        errorText = library.function("cuGetErrorString", JAVA_INT, JAVA_INT, ADDRESS);
    }

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public String symbol(Call call) {
        return call.cuda;
    }

    /** 13020 is 13.2. */
    @Override
    public String version(int number) {
        return number / 1000 + "." + number % 1000 / 10;
    }

    @Override
    public String meaning(int status) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(ADDRESS);
            MemorySegment text = arena.allocate(ADDRESS);
            boolean known = (int) errorName.invokeExact(status, name) == 0
                    && (int) errorText.invokeExact(status, text) == 0;
            return !known
                    ? "which this driver does not explain"
                    : NativeLibrary.textAt(name) + " (" + NativeLibrary.textAt(text) + ")";
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int acquire(int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            int status = (int) retain.invokeExact(out, ordinal);
            if (status == 0) {
                contexts.put(ordinal, out.get(JAVA_LONG, 0));
            }
            return status;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Retaining counts, so the context lives until the last who acquired it is done. */
    @Override
    public int release(int ordinal) {
        try {
            return (int) release.invokeExact(ordinal);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int makeCurrent(int ordinal) {
        long context = context(ordinal);
        if (context == 0) {
            return INVALID_CONTEXT;
        }
        try {
            return (int) setCurrent.invokeExact(context);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public Attributes attributes() {
        return new Attributes(10, 16, 97, 1);
    }

    @Override
    public String architecture(int ordinal) {
        return "sm_" + attribute(COMPUTE_MAJOR, ordinal) + attribute(COMPUTE_MINOR, ordinal);
    }

    private int attribute(int number, int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            int status = (int) attribute.invokeExact(out, number, ordinal);
            return status == 0 ? out.get(JAVA_INT, 0) : 0;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void connect(int ordinal, int other) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment can = arena.allocate(JAVA_INT);
            if ((int) canReach.invokeExact(can, ordinal, other) == 0 && can.get(JAVA_INT, 0) == 1) {
                // Refused where it is open already; the copy that follows tells of anything else.
                int unused = (int) reach.invokeExact(context(other), 0);
            }
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int copyBetween(GpuDriver.PeerCopy copy, long stream) {
        try {
            return (int) copyBetween.invokeExact(copy.target(), context(copy.to()), copy.source(), context(copy.from()),
                    copy.bytes(), stream);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Of a device that was acquired; 0 is none. */
    private long context(int ordinal) {
        return contexts.getOrDefault(ordinal, 0L);
    }

    @Override
    public int copyRows(GpuDriver.RowCopy copy, long stream) {
        try (Arena arena = Arena.ofConfined()) {
            // CUDA_MEMCPY2D: x, y, memory type, host, device, array, pitch of the source; the same of the target; width,
            // height.
            MemorySegment parameters = arena.allocate(128, 8);
            long hostSide = copy.toDevice() ? 0 : 56;
            long deviceSide = 56 - hostSide;
            parameters.set(JAVA_INT, hostSide + 16, MEMORY_HOST);
            parameters.set(ADDRESS, hostSide + 24, copy.host());
            parameters.set(JAVA_LONG, hostSide + 48, copy.rowBytes());
            parameters.set(JAVA_INT, deviceSide + 16, MEMORY_DEVICE);
            parameters.set(JAVA_LONG, deviceSide + 32, copy.address());
            parameters.set(JAVA_LONG, deviceSide + 48, copy.pitch());
            parameters.set(JAVA_LONG, 112, copy.rowBytes());
            parameters.set(JAVA_LONG, 120, copy.rows());
            return (int) copyRows.invokeExact(parameters, stream);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int permitShared(long function, int bytes) {
        if (bytes <= FREE_SHARED) {
            return 0;
        }
        try {
            return (int) functionAttribute.invokeExact(function, FUNCTION_SHARED, bytes);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
