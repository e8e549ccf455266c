package dev.optgptq.kernels.host;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class HostDeviceTest {

    @Test
    void memoryIsCountedPerArenaAndThePeakRemembered() {
        try (Device device = Devices.open("reference", 1)) {
            try (TensorArena first = device.arena()) {
                first.matrix(DType.F32, 10, 10);
                assertEquals(400, device.memoryInUse());
                try (TensorArena second = device.arena()) {
                    second.vector(DType.F64, 25);
                    assertEquals(600, device.memoryInUse());
                }
                assertEquals(400, device.memoryInUse());
            }
            assertEquals(0, device.memoryInUse());
            assertEquals(600, device.peakMemory());
        }
    }

    @Test
    void tensorsStartAtACacheLine() {
        try (Device device = Devices.open("reference", 1); TensorArena arena = device.arena()) {
            for (int columns = 1; columns < 40; columns += 3) {
                assertEquals(0, arena.vector(DType.U8, columns).memory().address() % 64);
            }
        }
    }

    @Test
    void loadingOffHeapBytesDoesNotCopyWhateverTheirAlignment() {
        try (Device device = Devices.open("cpu", 1);
                TensorArena arena = device.arena();
                Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(64).asSlice(1, 24);
            Tensor tensor = arena.load(bytes, DType.F32, 2, 3);
            assertEquals(bytes.address(), tensor.memory().address());
            assertEquals(0, device.memoryInUse());
        }
    }

    @Test
    void loadingHeapBytesCopiesThem() {
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            Tensor tensor = arena.load(MemorySegment.ofArray(new float[] {1, 2, 3}), DType.F32, 1, 3);
            assertTrue(tensor.memory().isNative());
            assertEquals(3f, tensor.memory().getAtIndex(ValueLayout.JAVA_FLOAT, 2));
        }
    }

    @Test
    void stridedViewsMakeTheRoundTripThroughDenseHostBytes() {
        try (Device device = Devices.open("reference", 1); TensorArena arena = device.arena()) {
            Tensor view = arena.matrix(DType.F32, 4, 7).rows(1, 2).columns(2, 3);
            device.upload(MemorySegment.ofArray(new float[] {1, 2, 3, 4, 5, 6}), view);
            float[] back = new float[6];
            device.download(view, MemorySegment.ofArray(back));
            assertEquals("[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]", java.util.Arrays.toString(back));
            assertEquals(4f, view.memory().getAtIndex(ValueLayout.JAVA_FLOAT, 7));
        }
    }

    @Test
    void askingForMoreThanThereIsSaysWhatWasAskedForAndWhatIsFree() {
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            UserError error = assertThrows(UserError.class, () -> arena.matrix(DType.F32, 1L << 20, 1L << 20));
            assertEquals(UserError.Code.MEMORY, error.code());
            assertTrue(error.toString().contains("F32 [1048576, 1048576]"), error.toString());
            assertTrue(error.toString().contains("4194304.0 MiB"), error.toString());
            assertEquals(0, device.memoryInUse());
        }
    }

    @Test
    void unknownDevicesAndThreadCountsAreRefused() {
        assertEquals(UserError.Code.BAD_SETTING,
                assertThrows(UserError.class, () -> Devices.open("gpu", 1)).code());
        assertEquals(UserError.Code.BAD_SETTING,
                assertThrows(UserError.class, () -> Devices.open("cpu", 0)).code());
        assertEquals(UserError.Code.DEVICE, assertThrows(UserError.class, () -> Devices.open("hip", 1)).code());
    }
}
