package dev.optgptq.kernels.cpu.loops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ParallelTest {

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 8})
    void everyTaskRunsExactlyOnce(int threads) {
        try (Parallel parallel = new Parallel(threads)) {
            for (int tasks : new int[] {0, 1, 2, 3, 7, 100, 10_000}) {
                AtomicIntegerArray runs = new AtomicIntegerArray(tasks);
                parallel.forEach(tasks, i -> runs.incrementAndGet((int) i));
                for (int i = 0; i < tasks; i++) {
                    assertEquals(1, runs.get(i), "task " + i + " of " + tasks);
                }
            }
        }
    }

    @Test
    void manyShortLoopsInARowLoseNothing() {
        try (Parallel parallel = new Parallel(3)) {
            AtomicLong sum = new AtomicLong();
            for (int loop = 0; loop < 20_000; loop++) {
                parallel.forEach(5, sum::addAndGet);
            }
            assertEquals(20_000L * 10, sum.get());
        }
    }

    @Test
    void rangesCoverTheWholeAndDoNotDependOnThreads() {
        for (int threads : new int[] {1, 2, 5}) {
            try (Parallel parallel = new Parallel(threads)) {
                var ranges = ConcurrentHashMap.<String>newKeySet();
                parallel.forRanges(25, 10, (from, to) -> ranges.add(from + "-" + to));
                assertEquals(java.util.Set.of("0-10", "10-20", "20-25"), ranges);
            }
        }
    }

    @Test
    void aLoopUsesTheWorkersBesideTheCaller() {
        try (Parallel parallel = new Parallel(2)) {
            CountDownLatch both = new CountDownLatch(2);
            parallel.forEach(2, i -> {
                both.countDown();
                await(both);
            });
            assertEquals(0, both.getCount());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 4})
    void anExceptionOfATaskReachesTheCallerAndThePoolStaysUsable(int threads) {
        try (Parallel parallel = new Parallel(threads)) {
            ArithmeticException thrown = assertThrows(ArithmeticException.class, () -> parallel.forEach(100, i -> {
                if (i == 37) {
                    throw new ArithmeticException("task 37");
                }
            }));
            assertEquals("task 37", thrown.getMessage());
            AtomicLong sum = new AtomicLong();
            parallel.forEach(10, sum::addAndGet);
            assertEquals(45, sum.get());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void aLoopInsideALoopIsRefused(int threads) {
        try (Parallel parallel = new Parallel(threads)) {
            assertThrows(IllegalStateException.class,
                    () -> parallel.forEach(4, i -> parallel.forEach(4, j -> {})));
        }
    }

    @Test
    void aClosedPoolRefusesWork() {
        Parallel parallel = new Parallel(2);
        parallel.close();
        var error = assertThrows(IllegalStateException.class, () -> parallel.forEach(2, i -> {}));
        assertEquals("the device is closed", error.getMessage());
    }

    private static void await(CountDownLatch latch) {
        try {
            if (!latch.await(10, java.util.concurrent.TimeUnit.SECONDS)) {
                throw new IllegalStateException("the other thread never came");
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
