package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Asks a library what a device is. */
record DeviceReader(DriverCalls calls, Api api, Statuses statuses) {

    private static final int NAME_BYTES = 256;

    GpuDriver.DeviceInfo read(int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(NAME_BYTES);
            statuses.check(Call.DEVICE_NAME,
                    (int) calls.handle(Call.DEVICE_NAME).invokeExact(name, NAME_BYTES - 1, ordinal));
            MemorySegment memory = arena.allocate(JAVA_LONG);
            statuses.check(Call.DEVICE_MEMORY, (int) calls.handle(Call.DEVICE_MEMORY).invokeExact(memory, ordinal));
            Api.Attributes attributes = api.attributes();
            return new GpuDriver.DeviceInfo(name.getString(0), api.architecture(ordinal),
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
                    (int) calls.handle(Call.DEVICE_ATTRIBUTE).invokeExact(out, number, ordinal));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
