package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.EnumSet;

/** The driver over a vendor's library: the calls that both have, and an {@link Api} for where they differ. */
final class NativeDriver implements GpuDriver {

    private static final int PORTABLE_HOST_MEMORY = 1;
    private static final int NON_BLOCKING_STREAM = 1;
    private static final int UNTIMED_EVENT = 2;

    private final NativeLibrary vendor;
    private final Api api;
    private final Statuses statuses;
    private final int devices;
    private final String description;
    private final DriverCalls calls;
    // The calls of every launch and copy, out of the map.
    private final MethodHandle launch;
    private final MethodHandle toDevice;
    private final MethodHandle toHost;
    private final MethodHandle onDevice;

    /** Initializes the library. UserError DEVICE when it is not usable or there is no device, with the reason. */
    NativeDriver(NativeLibrary vendor, Api api) {
        this.vendor = vendor;
        this.api = api;
        this.statuses = new Statuses(api);
        // Most machines end here, so the rest is looked up only where there is a device.
        calls = new DriverCalls(vendor, api, statuses);
        calls.bind(EnumSet.of(Call.VERSION, Call.INIT, Call.DEVICE_COUNT));
        this.description = api.name() + " " + api.version(calls.readInt(Call.VERSION)) + ", " + vendor.file();
        this.devices = countDevices();
        calls.bind(EnumSet.allOf(Call.class));
        launch = calls.handle(Call.LAUNCH);
        toDevice = calls.handle(Call.TO_DEVICE);
        toHost = calls.handle(Call.TO_HOST);
        onDevice = calls.handle(Call.ON_DEVICE);
    }

    private int countDevices() {
        try {
            statuses.check(Call.INIT, (int) calls.handle(Call.INIT).invokeExact(0));
            int count = calls.readInt(Call.DEVICE_COUNT);
            if (count > 0) {
                return count;
            }
        } catch (UserError e) {
            throw new UserError(UserError.Code.DEVICE,
                    description + ": no usable device: " + e.getMessage() + DeviceFiles.hint(api.name()), e);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
        throw new UserError(UserError.Code.DEVICE, description + ": there is no device" + DeviceFiles.hint(api.name()));
    }

    @Override
    public String api() {
        return api.name();
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public int deviceCount() {
        return devices;
    }

    @Override
    public DeviceInfo info(int ordinal) {
        return new DeviceReader(calls, api, statuses).read(ordinal);
    }

    @Override
    public void acquire(int ordinal) {
        statuses.check("use of device " + ordinal, api.acquire(ordinal));
    }

    @Override
    public void release(int ordinal) {
        statuses.check("release of device " + ordinal, api.release(ordinal));
    }

    @Override
    public void makeCurrent(int ordinal) {
        statuses.check("switch to device " + ordinal, api.makeCurrent(ordinal));
    }

    @Override
    public MemoryInfo memory() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(JAVA_LONG);
            MemorySegment total = arena.allocate(JAVA_LONG);
            statuses.check(Call.MEMORY_INFO, (int) calls.handle(Call.MEMORY_INFO).invokeExact(free, total));
            return new MemoryInfo(free.get(JAVA_LONG, 0), total.get(JAVA_LONG, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long allocate(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(Call.ALLOCATE, (int) calls.handle(Call.ALLOCATE).invokeExact(out, bytes));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void free(long address) {
        calls.call(Call.FREE, address);
    }

    @Override
    public MemorySegment allocatePinned(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ADDRESS);
            statuses.check(Call.ALLOCATE_PINNED,
                    (int) calls.handle(Call.ALLOCATE_PINNED).invokeExact(out, bytes, PORTABLE_HOST_MEMORY));
            return out.get(ADDRESS, 0).reinterpret(bytes);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void freePinned(MemorySegment memory) {
        try {
            statuses.check(Call.FREE_PINNED, (int) calls.handle(Call.FREE_PINNED).invokeExact(memory));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long createStream() {
        return calls.create(Call.CREATE_STREAM, NON_BLOCKING_STREAM);
    }

    @Override
    public void destroyStream(long stream) {
        calls.call(Call.DESTROY_STREAM, stream);
    }

    @Override
    public void synchronize(long stream) {
        calls.call(Call.SYNCHRONIZE_STREAM, stream);
    }

    @Override
    public long createEvent(boolean timed) {
        return calls.create(Call.CREATE_EVENT, timed ? 0 : UNTIMED_EVENT);
    }

    @Override
    public void destroyEvent(long event) {
        calls.call(Call.DESTROY_EVENT, event);
    }

    @Override
    public void record(long event, long stream) {
        try {
            statuses.check(Call.RECORD_EVENT, (int) calls.handle(Call.RECORD_EVENT).invokeExact(event, stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void await(long stream, long event) {
        try {
            statuses.check(Call.AWAIT_EVENT, (int) calls.handle(Call.AWAIT_EVENT).invokeExact(stream, event, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void synchronizeEvent(long event) {
        calls.call(Call.SYNCHRONIZE_EVENT, event);
    }

    @Override
    public float elapsedMillis(long from, long to) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_FLOAT);
            statuses.check(Call.ELAPSED, (int) calls.handle(Call.ELAPSED).invokeExact(out, from, to));
            return out.get(JAVA_FLOAT, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void copyToDevice(long target, MemorySegment source, long stream) {
        try {
            statuses.check(Call.TO_DEVICE, (int) toDevice.invokeExact(target, source, source.byteSize(), stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void copyToHost(MemorySegment target, long source, long stream) {
        try {
            statuses.check(Call.TO_HOST, (int) toHost.invokeExact(target, source, target.byteSize(), stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void copyOnDevice(long target, long source, long bytes, long stream) {
        try {
            statuses.check(Call.ON_DEVICE, (int) onDevice.invokeExact(target, source, bytes, stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void connect(int ordinal, int other) {
        api.connect(ordinal, other);
    }

    @Override
    public void copyBetween(PeerCopy copy, long stream) {
        statuses.check("copy of " + copy.bytes() + " bytes from device " + copy.from() + " to device " + copy.to(),
                api.copyBetween(copy, stream));
    }

    @Override
    public void copyRows(RowCopy copy, long stream) {
        statuses.check("copy of " + copy.rows() + " rows of " + copy.rowBytes() + " bytes",
                api.copyRows(copy, stream));
    }

    @Override
    public void fill(long address, byte value, long bytes, long stream) {
        try {
            statuses.check(Call.FILL, (int) calls.handle(Call.FILL).invokeExact(address, value & 0xFF, bytes, stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long loadModule(MemorySegment image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(Call.LOAD_MODULE, (int) calls.handle(Call.LOAD_MODULE).invokeExact(out, image));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void unloadModule(long module) {
        calls.call(Call.UNLOAD_MODULE, module);
    }

    @Override
    public long function(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(api.symbol(Call.FUNCTION) + " " + name,
                    (int) calls.handle(Call.FUNCTION).invokeExact(out, module, arena.allocateFrom(name)));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void launch(long function, Grid grid, int sharedBytes, long stream, MemorySegment parameters) {
        statuses.check("shared memory of " + sharedBytes + " bytes", api.permitShared(function, sharedBytes));
        try {
            statuses.check(Call.LAUNCH, (int) launch.invokeExact(function, grid.x(), grid.y(), grid.z(),
                    grid.threads(), 1, 1, sharedBytes, stream, parameters, MemorySegment.NULL));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public Recordings recordings() {
        return new NativeRecordings(vendor, statuses);
    }
}
