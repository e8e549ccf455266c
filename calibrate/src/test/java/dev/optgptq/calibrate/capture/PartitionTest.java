package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PartitionTest {

    @Test
    void partsAreWholeBatchesButForTheLast() {
        Partition partition = Partition.of(100, 0, 8, 4, 1);

        assertEquals(List.of(new Shard(0, 0, 24), new Shard(1, 24, 24), new Shard(2, 48, 24), new Shard(3, 72, 28)),
                partition.summed());
    }

    @Test
    void thereAreNoMorePartsThanBatches() {
        assertEquals(List.of(new Shard(0, 0, 8), new Shard(1, 8, 2)), Partition.of(10, 0, 8, 8, 2).summed());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5, 8, 9})
    void everyDeviceHasNeighboursAndEveryPartOneDevice(int devices) {
        Partition partition = Partition.of(80, 0, 2, 8, devices);

        List<Shard> dealt = new ArrayList<>();
        for (int device = 0; device < devices; device++) {
            List<Shard> mine = partition.summed(device);
            assertTrue(mine.size() <= Math.ceilDiv(8, devices), () -> mine + " of " + devices);
            dealt.addAll(mine);
        }
        assertEquals(partition.summed(), dealt);
    }

    @Test
    void whatIsHeldOutIsTheFirstDevices() {
        Partition partition = Partition.of(16, 4, 4, 8, 2);

        assertEquals(List.of(new Shard(0, 0, 4), new Shard(1, 4, 4), new Shard(0, 16, 4)), partition.all(0));
        assertEquals(List.of(new Shard(2, 8, 4), new Shard(3, 12, 4)), partition.all(1));
        assertEquals(20, partition.rows());
    }

    /** How a batch is made up decides bits, so that it must not depend on the devices. */
    @Test
    void batchesAreTheSameForAnyNumberOfDevices() {
        assertEquals(batches(1), batches(3));
    }

    private static List<String> batches(int devices) {
        Partition partition = Partition.of(100, 20, 8, 4, devices);
        List<String> batches = new ArrayList<>();
        for (int device = 0; device < devices; device++) {
            partition.eachBatch(partition.all(device), (first, count) -> batches.add(first + "+" + count));
        }
        return batches.stream().sorted().toList();
    }
}
