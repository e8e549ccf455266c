package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ActivationStoreTest {

    private static final long EXACTLY = 4 * 3 * Float.BYTES;

    @ParameterizedTest
    @ValueSource(longs = {0, EXACTLY - 1, EXACTLY, Long.MAX_VALUE})
    void givesBackWhatWasWrittenFromMemoryOrAFile(long memoryLimit) {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                ActivationStore store = new ActivationStore(4, 3, memoryLimit)) {
            assertEquals(memoryLimit < EXACTLY, store.spilled());
            assertEquals(EXACTLY, store.bytes());
            store.write(device, 2, TestDevices.upload(device, arena, 2, 1, 2, 3, 4, 5, 6));
            store.write(device, 0, TestDevices.upload(device, arena, 1, 7, 8, 9));
            Tensor x = arena.matrix(DType.F32, 4, 3);
            store.read(device, 0, x);
            assertArrayEquals(new float[] {7, 8, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6}, TestDevices.download(device, x));
        }
    }

    /** Larger than one write of the reservation, and no multiple of it. */
    @Test
    void aFileLargerThanOneChunkHoldsItsLastRow() {
        long rows = (1 << 20) + 3;
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                ActivationStore store = new ActivationStore(rows, 2, 0)) {
            store.write(device, rows - 1, TestDevices.upload(device, arena, 1, 1, 2));
            Tensor x = arena.matrix(DType.F32, 1, 2);
            store.read(device, rows - 1, x);
            assertArrayEquals(new float[] {1, 2}, TestDevices.download(device, x));
        }
    }

    @Test
    void onTheDeviceRowsAreReplacedWhereTheyLie() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                ActivationStore store = ActivationStore.onDevice(device, 3, 2)) {
            store.write(device, 0, TestDevices.upload(device, arena, 3, 1, 2, 3, 4, 5, 6));
            Tensor buffer = TestDevices.upload(device, arena, 2, -1, -1, -1, -1);

            store.update(device, 1, buffer, rows -> device.matrix().subtract(rows, rows, rows));

            Tensor x = arena.matrix(DType.F32, 3, 2);
            store.read(device, 0, x);
            assertArrayEquals(new float[] {1, 2, 0, 0, 0, 0}, TestDevices.download(device, x));
            assertArrayEquals(new float[] {-1, -1, -1, -1}, TestDevices.download(device, buffer), "not needed");
        }
    }

    @Test
    void onTheDeviceWhatWasReadMayBeOverwritten() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                ActivationStore store = ActivationStore.onDevice(device, 1, 2)) {
            store.write(device, 0, TestDevices.upload(device, arena, 1, 1, 2));
            Tensor x = arena.matrix(DType.F32, 1, 2);
            store.read(device, 0, x);
            device.matrix().fill(x, 9);
            store.read(device, 0, x);
            assertArrayEquals(new float[] {1, 2}, TestDevices.download(device, x));
        }
    }

    @Test
    void onTheHostRowsAreReplacedThroughTheBuffer() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                ActivationStore store = new ActivationStore(2, 1, Long.MAX_VALUE)) {
            store.write(device, 0, TestDevices.upload(device, arena, 2, 1, 2));
            Tensor buffer = arena.matrix(DType.F32, 1, 1);

            store.update(device, 1, buffer, rows -> device.matrix().fill(rows, 7));

            Tensor x = arena.matrix(DType.F32, 2, 1);
            store.read(device, 0, x);
            assertArrayEquals(new float[] {1, 7}, TestDevices.download(device, x));
        }
    }

    @Test
    void whatLiesOnSeveralDevicesIsReadAndWrittenFromAny() {
        Partition partition = Partition.of(4, 2, 1, 4, 2);
        try (Device first = TestDevices.reference();
                Device second = TestDevices.reference();
                TensorArena arena = first.arena();
                ActivationStore store = ActivationStore.onDevices(List.of(first, second), partition, 1)) {
            store.write(first, 0, TestDevices.upload(first, arena, 6, 0, 1, 2, 3, 4, 5));
            assertEquals(2 * Float.BYTES, second.memoryInUse(), "rows 2 and 3");

            try (TensorArena other = second.arena()) {
                Tensor buffer = other.matrix(DType.F32, 3, 1);
                store.update(second, 1, buffer, rows -> second.neural().add(rows, rows));
                Tensor here = other.matrix(DType.F32, 1, 1);
                store.update(second, 3, here, rows -> second.neural().add(rows, rows));
            }

            Tensor x = arena.matrix(DType.F32, 6, 1);
            store.read(first, 0, x);
            assertArrayEquals(new float[] {0, 2, 4, 12, 4, 5}, TestDevices.download(first, x));
        }
    }

    @Test
    void rowsOutsideAndOtherWidthsAreRefused() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                ActivationStore store = new ActivationStore(4, 3, Long.MAX_VALUE)) {
            Tensor twoRows = arena.matrix(DType.F32, 2, 3);
            assertThrows(IllegalArgumentException.class, () -> store.read(device, 3, twoRows));
            assertThrows(IllegalArgumentException.class, () -> store.read(device, -1, twoRows));
            assertThrows(IllegalArgumentException.class, () -> store.write(device, 0, arena.matrix(DType.F32, 2, 2)));
        }
    }
}
