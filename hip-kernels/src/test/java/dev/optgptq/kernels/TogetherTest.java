package dev.optgptq.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class TogetherTest {

    /** Each waits for the others, so that one after the other would not end. */
    @Test
    void all_work_at_the_same_time_the_first_on_the_callers_thread() {
        CyclicBarrier barrier = new CyclicBarrier(4);
        Set<Integer> done = new ConcurrentSkipListSet<>();
        Thread[] first = {null};

        Together.run(4, index -> {
            await(barrier);
            if (index == 0) {
                first[0] = Thread.currentThread();
            }
            done.add(index);
        });

        assertEquals(Set.of(0, 1, 2, 3), done);
        assertSame(Thread.currentThread(), first[0]);
    }

    /** Strings are joined in order whatever the number; of four devices two pairs wait for each other. */
    @Test
    void pairs_are_joined_in_the_order_of_the_devices_and_at_the_same_time() {
        for (int count = 1; count <= 9; count++) {
            List<StringBuilder> each = IntStream.range(0, count).mapToObj(i -> new StringBuilder().append(i)).toList();
            Together.inPairs(count, (device, absorbed) -> each.get(device).append(each.get(absorbed)));
            assertEquals("012345678".substring(0, count), each.getFirst().toString());
        }

        CyclicBarrier barrier = new CyclicBarrier(2);
        AtomicInteger joined = new AtomicInteger();
        Together.inPairs(4, (device, absorbed) -> {
            if (joined.incrementAndGet() < 3) {
                await(barrier);
            }
        });
        assertEquals(3, joined.get());
    }

    private static void await(CyclicBarrier barrier) {
        try {
            barrier.await(1, TimeUnit.MINUTES);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void a_failure_is_thrown_once_all_have_ended() {
        AtomicInteger ended = new AtomicInteger();

        IllegalStateException failure = assertThrows(IllegalStateException.class, () -> Together.run(3, index -> {
            ended.incrementAndGet();
            if (index > 0) {
                throw new IllegalStateException("device " + index);
            }
        }));

        assertEquals(3, ended.get());
        assertEquals("device 1", failure.getMessage());
        assertEquals("device 2", failure.getSuppressed()[0].getMessage());
    }

    @Test
    void who_is_interrupted_while_waiting_waits_on_and_stays_interrupted() {
        Thread caller = Thread.currentThread();
        AtomicInteger ended = new AtomicInteger();

        Together.run(2, index -> {
            if (index == 1) {
                caller.interrupt();
                ended.incrementAndGet();
            }
        });

        assertTrue(Thread.interrupted());
        assertEquals(1, ended.get());
    }
}
