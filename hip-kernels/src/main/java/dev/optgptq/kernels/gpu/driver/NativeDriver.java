package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;

/** The driver over a vendor's library: the calls that both have, and an {@link Api} for where they differ. */
final class NativeDriver implements GpuDriver {

    private static final int PORTABLE_HOST_MEMORY = 1;
    private static final int NON_BLOCKING_STREAM = 1;
    private static final int UNTIMED_EVENT = 2;
    private static final int NAME_BYTES = 256;

    private final NativeLibrary vendor;
    private final Api api;
    private final Statuses statuses;
    private final int devices;
    private final String description;
    private final Map<Call, MethodHandle> calls = new EnumMap<>(Call.class);
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
        bind(vendor, EnumSet.of(Call.VERSION, Call.INIT, Call.DEVICE_COUNT));
        this.description = api.name() + " " + api.version(readInt(Call.VERSION)) + ", " + vendor.file();
        this.devices = countDevices();
        bind(vendor, EnumSet.allOf(Call.class));
        launch = handle(Call.LAUNCH);
        toDevice = handle(Call.TO_DEVICE);
        toHost = handle(Call.TO_HOST);
        onDevice = handle(Call.ON_DEVICE);
    }

    private void bind(NativeLibrary vendor, Set<Call> wanted) {
        for (Call call : wanted) {
            calls.computeIfAbsent(call, key -> vendor.function(api.symbol(key), JAVA_INT,
                    key.arguments.toArray(new MemoryLayout[0])));
        }
    }

    private int countDevices() {
        try {
            statuses.check(Call.INIT, (int) handle(Call.INIT).invokeExact(0));
            int count = readInt(Call.DEVICE_COUNT);
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

    private MethodHandle handle(Call call) {
        MethodHandle handle = calls.get(call);
        if (handle == null) {
            throw new IllegalStateException(call.name());
        }
        return handle;
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
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(NAME_BYTES);
            statuses.check(Call.DEVICE_NAME,
                    (int) handle(Call.DEVICE_NAME).invokeExact(name, NAME_BYTES - 1, ordinal));
            MemorySegment memory = arena.allocate(JAVA_LONG);
            statuses.check(Call.DEVICE_MEMORY, (int) handle(Call.DEVICE_MEMORY).invokeExact(memory, ordinal));
            Api.Attributes attributes = api.attributes();
            return new DeviceInfo(name.getString(0), api.architecture(ordinal),
                    attribute(attributes.waveWidth(), ordinal), attribute(attributes.multiprocessors(), ordinal),
                    attribute(attributes.sharedBytes(), ordinal), attribute(attributes.maxThreads(), ordinal),
                    memory.get(JAVA_LONG, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private int attribute(int number, int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            statuses.check(Call.DEVICE_ATTRIBUTE,
                    (int) handle(Call.DEVICE_ATTRIBUTE).invokeExact(out, number, ordinal));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
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
            statuses.check(Call.MEMORY_INFO, (int) handle(Call.MEMORY_INFO).invokeExact(free, total));
            return new MemoryInfo(free.get(JAVA_LONG, 0), total.get(JAVA_LONG, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long allocate(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(Call.ALLOCATE, (int) handle(Call.ALLOCATE).invokeExact(out, bytes));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void free(long address) {
        call(Call.FREE, address);
    }

    @Override
    public MemorySegment allocatePinned(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ADDRESS);
            statuses.check(Call.ALLOCATE_PINNED,
                    (int) handle(Call.ALLOCATE_PINNED).invokeExact(out, bytes, PORTABLE_HOST_MEMORY));
            return out.get(ADDRESS, 0).reinterpret(bytes);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void freePinned(MemorySegment memory) {
        try {
            statuses.check(Call.FREE_PINNED, (int) handle(Call.FREE_PINNED).invokeExact(memory));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long createStream() {
        return create(Call.CREATE_STREAM, NON_BLOCKING_STREAM);
    }

    @Override
    public void destroyStream(long stream) {
        call(Call.DESTROY_STREAM, stream);
    }

    @Override
    public void synchronize(long stream) {
        call(Call.SYNCHRONIZE_STREAM, stream);
    }

    @Override
    public long createEvent(boolean timed) {
        return create(Call.CREATE_EVENT, timed ? 0 : UNTIMED_EVENT);
    }

    @Override
    public void destroyEvent(long event) {
        call(Call.DESTROY_EVENT, event);
    }

    @Override
    public void record(long event, long stream) {
        try {
            statuses.check(Call.RECORD_EVENT, (int) handle(Call.RECORD_EVENT).invokeExact(event, stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void await(long stream, long event) {
        try {
            statuses.check(Call.AWAIT_EVENT, (int) handle(Call.AWAIT_EVENT).invokeExact(stream, event, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void synchronizeEvent(long event) {
        call(Call.SYNCHRONIZE_EVENT, event);
    }

    @Override
    public float elapsedMillis(long from, long to) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_FLOAT);
            statuses.check(Call.ELAPSED, (int) handle(Call.ELAPSED).invokeExact(out, from, to));
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
            statuses.check(Call.FILL, (int) handle(Call.FILL).invokeExact(address, value & 0xFF, bytes, stream));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public long loadModule(MemorySegment image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(Call.LOAD_MODULE, (int) handle(Call.LOAD_MODULE).invokeExact(out, image));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void unloadModule(long module) {
        call(Call.UNLOAD_MODULE, module);
    }

    @Override
    public long function(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(api.symbol(Call.FUNCTION) + " " + name,
                    (int) handle(Call.FUNCTION).invokeExact(out, module, arena.allocateFrom(name)));
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

    private void call(Call call, long argument) {
        try {
            statuses.check(call, (int) handle(call).invokeExact(argument));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private long create(Call call, int flags) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            statuses.check(call, (int) handle(call).invokeExact(out, flags));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private int readInt(Call call) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            statuses.check(call, (int) handle(call).invokeExact(out));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
