package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Together;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TreeSumTest {

    /** In float32, 1e8 + 1 = 1e8: the order of a sum shows. */
    private static final float LARGE = 1e8f;

    @Test
    void neighboursAreAddedFirst() {
        assertEquals((1 + LARGE) + (-LARGE + 1), sum(1, 1, LARGE, -LARGE, 1)[0]);
        assertEquals((LARGE + -LARGE) + (1 + 1), sum(1, LARGE, -LARGE, 1, 1)[0]);
    }

    @ParameterizedTest
    @CsvSource({"2, 8", "3, 8", "4, 8", "5, 8", "8, 8", "2, 5", "3, 7", "4, 3", "3, 1", "2, 6"})
    void anyNumberOfDevicesGivesTheSameBits(int devices, int parts) {
        float[] values = new float[parts];
        for (int i = 0; i < parts; i++) {
            values[i] = 1f / (3 + 7 * i);
        }

        assertArrayEquals(sum(1, values), sum(devices, values));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 8})
    void takesAtMostTheMemoryThatItSays(int parts) {
        try (Device device = TestDevices.reference(); TreeSum sum = new TreeSum(device, 1500, true)) {
            for (int part = 0; part < parts; part++) {
                sum.begin(part);
                sum.end();
            }
            assertEquals(TreeSum.bytes(1500, true, parts), device.peakMemory());
        }
    }

    @Test
    void givesItsMemoryBack() {
        try (Device device = TestDevices.reference()) {
            try (TreeSum sum = new TreeSum(device, 10, false)) {
                sum.begin(0);
                sum.end();
                sum.begin(1);
            }
            assertEquals(0, device.memoryInUse());
        }
    }

    @Test
    void theLowerTriangleIsLeftAlone() {
        try (Device device = TestDevices.reference(); TreeSum sum = new TreeSum(device, 1100, true)) {
            for (int part = 0; part < 2; part++) {
                sum.begin(part);
                device.matrix().fill(sum.matrix().rows(1050, 1), 1);
                sum.end();
            }
            float[] row = TestDevices.download(device, sum.matrix().rows(1050, 1));
            assertEquals(1, row[0], "of the part that was summed last");
            assertEquals(2, row[1099]);
        }
    }

    /** What the parts come to, each the same value in every element, spread over devices. */
    private static float[] sum(int devices, float... values) {
        Partition partition = Partition.of(values.length, 0, 1, values.length, devices);
        List<Device> opened = new ArrayList<>();
        List<TreeSum> sums = new ArrayList<>();
        for (int i = 0; i < devices; i++) {
            Device device = TestDevices.reference();
            TreeSum sum = new TreeSum(device, 3, true);
            for (Shard part : partition.summed(i)) {
                sum.begin(part.index());
                device.matrix().fill(sum.matrix(), values[part.index()]);
                sum.end();
            }
            opened.add(device);
            sums.add(sum);
        }
        Together.inPairs(devices, (device, next) -> sums.get(device).absorb(sums.get(next)));
        sums.getFirst().finish();
        float[] total = TestDevices.download(opened.getFirst(), sums.getFirst().matrix().rows(0, 1));
        opened.forEach(Device::close);
        return total;
    }
}
