package dev.optgptq.gptq.run.checkpoint;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class ParallelChecksTest {

    private static final Path WHERE = Path.of("out");

    private final Set<Integer> done = new ConcurrentSkipListSet<>();

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 100})
    void every_check_is_done(int threads) {
        List<Runnable> checks = IntStream.range(0, 50).<Runnable>mapToObj(i -> () -> done.add(i)).toList();

        new ParallelChecks(WHERE, threads).run(checks);

        assertEquals(new TreeSet<>(IntStream.range(0, 50).boxed().toList()), done);
    }

    @Test
    void so_many_are_done_at_once_as_there_are_threads() {
        CyclicBarrier all = new CyclicBarrier(3);
        Runnable meets = () -> {
            try {
                all.await();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        };

        new ParallelChecks(WHERE, 3).run(List.of(meets, meets, meets));
    }

    /** Whichever is found first: what is reported does not depend on the threads. */
    @Test
    void of_several_failures_the_first_in_their_order_is_thrown() {
        CountDownLatch later = new CountDownLatch(1);
        List<Runnable> checks = List.of(() -> done.add(0), () -> {
            await(later);
            throw new IllegalStateException("first");
        }, () -> {
            later.countDown();
            throw new IllegalStateException("second");
        });

        var failure = assertThrows(IllegalStateException.class, () -> new ParallelChecks(WHERE, 3).run(checks));

        assertEquals("first", failure.getMessage());
    }

    @Test
    void behind_a_failure_nothing_more_is_begun() {
        List<Runnable> checks = new ArrayList<>();
        Thread caller = Thread.currentThread();
        checks.add(() -> {
            throw new IllegalStateException("damaged");
        });
        // Holds the only thread until the caller has heard of the failure and waits for it.
        checks.add(() -> {
            while (caller.getState() != Thread.State.TIMED_WAITING) {
                Thread.onSpinWait();
            }
        });
        IntStream.range(0, 10).forEach(i -> checks.add(() -> done.add(i)));

        assertThrows(IllegalStateException.class, () -> new ParallelChecks(WHERE, 1).run(checks));

        assertEquals(Set.of(), done);
    }

    /** By a check that would run forever. */
    @Test
    void an_interrupted_thread_stops_checking_and_stays_interrupted() {
        CountDownLatch never = new CountDownLatch(1);
        Thread.currentThread().interrupt();

        assertUserError(Code.OUTPUT, () -> new ParallelChecks(WHERE, 1).run(List.of(() -> await(never))), "out",
                "interrupted");

        assertTrue(Thread.interrupted(), "whoever interrupted wants to see it");
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
