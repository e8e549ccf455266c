package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** HIP: AMD's libamdhip64 and Hygon's libgalaxyhip. Numbers as in hip_runtime_api.h of 5.2 and 6.3, which agree. */
final class HipApi implements Api {

    private static final int HOST_TO_DEVICE = 1;
    private static final int DEVICE_TO_HOST = 2;
    /** More than any version's hipDeviceProp_t (792 bytes in 5.2, 1472 in 6.0). */
    private static final int PROPERTIES_BYTES = 8192;
    private static final Pattern ARCHITECTURE = Pattern.compile("gfx[0-9a-f]+");

    private final MethodHandle setDevice;
    private final MethodHandle copyRows;
    private final MethodHandle canReach;
    private final MethodHandle reach;
    private final MethodHandle copyBetween;
    private final MethodHandle properties;
    private final MethodHandle errorName;
    private final MethodHandle errorText;

    HipApi(NativeLibrary library) {
        setDevice = library.function("hipSetDevice", JAVA_INT, JAVA_INT);
        copyRows = library.function("hipMemcpy2DAsync", JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_LONG,
                JAVA_LONG, JAVA_INT, JAVA_LONG);
        canReach = library.function("hipDeviceCanAccessPeer", JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT);
        reach = library.function("hipDeviceEnablePeerAccess", JAVA_INT, JAVA_INT, JAVA_INT);
        copyBetween = library.function("hipMemcpyPeerAsync", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT,
                JAVA_LONG, JAVA_LONG);
        // 6.0 changed the structure under a new symbol; the text that is looked for is in both.
        properties = library.function(List.of("hipGetDevicePropertiesR0600", "hipGetDeviceProperties"), JAVA_INT,
                ADDRESS, JAVA_INT);
        errorName = library.function("hipGetErrorName", ADDRESS, JAVA_INT);
        errorText = library.function("hipGetErrorString", ADDRESS, JAVA_INT);
    }

    @Override
    public String name() {
        return "hip";
    }

    @Override
    public String symbol(Call call) {
        return call.hip;
    }

    /** 50221153 is 5.2.21153. */
    @Override
    public String version(int number) {
        return number / 10_000_000 + "." + number / 100_000 % 100 + "." + number % 100_000;
    }

    @Override
    public String meaning(int status) {
        try {
            String name = NativeLibrary.text((MemorySegment) errorName.invokeExact(status));
            String text = NativeLibrary.text((MemorySegment) errorText.invokeExact(status));
            return name.equals(text) ? name : name + " (" + text + ")"; // old versions give the name twice
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int acquire(int ordinal) {
        return makeCurrent(ordinal);
    }

    @Override
    public int release(int ordinal) {
        return 0; // HIP's context lives as long as the process
    }

    @Override
    public int makeCurrent(int ordinal) {
        try {
            return (int) setDevice.invokeExact(ordinal);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public Attributes attributes() {
        return new Attributes(87, 63, 74, 56);
    }

    /** There is no attribute for it, and its place in the properties changed with versions: the text is searched for. */
    @Override
    public String architecture(int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(PROPERTIES_BYTES, 16);
            int status = (int) properties.invokeExact(buffer, ordinal);
            byte[] bytes = buffer.toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
            Matcher matcher = ARCHITECTURE.matcher(new String(bytes, StandardCharsets.ISO_8859_1));
            return status == 0 && matcher.find() ? matcher.group() : KfdTopology.ofSystem().architecture(ordinal);
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
                int unused = (int) reach.invokeExact(other, 0);
            }
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int copyBetween(GpuDriver.PeerCopy copy, long stream) {
        try {
            return (int) copyBetween.invokeExact(copy.target(), copy.to(), copy.source(), copy.from(), copy.bytes(),
                    stream);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int copyRows(GpuDriver.RowCopy copy, long stream) {
        MemorySegment device = MemorySegment.ofAddress(copy.address());
        try {
            return copy.toDevice()
                    ? (int) copyRows.invokeExact(device, copy.pitch(), copy.host(), copy.rowBytes(), copy.rowBytes(),
                            copy.rows(), HOST_TO_DEVICE, stream)
                    : (int) copyRows.invokeExact(copy.host(), copy.rowBytes(), device, copy.pitch(), copy.rowBytes(),
                            copy.rows(), DEVICE_TO_HOST, stream);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public int permitShared(long function, int bytes) {
        return 0; // all 64 KiB are open to every kernel
    }
}
