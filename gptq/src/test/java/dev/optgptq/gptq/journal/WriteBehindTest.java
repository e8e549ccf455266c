package dev.optgptq.gptq.journal;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class WriteBehindTest {

    private static final Path WHERE = Path.of("out");
    private final UserError full = new UserError(Code.OUTPUT, "out: the disk is full");

    private final List<Object> done = Collections.synchronizedList(new ArrayList<>());

    @ParameterizedTest
    @ValueSource(longs = {64, 200, 100_000})
    void everything_is_written_as_it_was_filled_and_in_order_however_little_may_wait(long capacity) {
        try (WriteBehind behind = new WriteBehind(WHERE, capacity)) {
            IntStream.range(0, 100).forEach(i -> hand(behind, i));
            behind.then(() -> done.add("finished"));
            behind.await();
        }

        List<Object> expected = new ArrayList<>(IntStream.range(0, 100).boxed().toList());
        expected.add("finished");
        assertEquals(expected, done);
    }

    @Test
    void whoever_hands_over_goes_on_while_it_is_written() {
        CountDownLatch wentOn = new CountDownLatch(1);
        try (WriteBehind behind = new WriteBehind(WHERE, 128)) {
            behind.then(() -> await(wentOn));
            hand(behind, 1);
            hand(behind, 2);
            assertEquals(List.of(), done);

            wentOn.countDown();
            behind.await();

            assertEquals(List.of(1, 2), done);
        }
    }

    @Test
    void no_more_waits_than_was_allowed() throws InterruptedException {
        CountDownLatch disk = new CountDownLatch(1);
        try (WriteBehind behind = new WriteBehind(WHERE, 128)) {
            behind.then(() -> await(disk));
            hand(behind, 1);
            hand(behind, 2);
            Thread third = Thread.ofPlatform().start(() -> hand(behind, 3));
            while (third.getState() != Thread.State.WAITING) {
                assertTrue(third.isAlive(), "the third was handed over");
                Thread.onSpinWait();
            }

            disk.countDown();
            third.join();
            behind.await();

            assertEquals(List.of(1, 2, 3), done);
        }
    }

    @Test
    void a_failure_is_thrown_to_whoever_hands_over_next_and_nothing_behind_it_is_done() throws InterruptedException {
        try (WriteBehind behind = new WriteBehind(WHERE, 128)) {
            CountDownLatch failed = new CountDownLatch(1);
            behind.then(() -> await(failed));
            fail(behind);
            behind.then(() -> done.add("behind it"));
            CountDownLatch over = new CountDownLatch(1);
            behind.finallyDo(over::countDown);
            failed.countDown();
            over.await();

            assertSame(full, assertThrows(UserError.class, () -> hand(behind, 2)));
        }
        assertEquals(List.of(), done);
    }

    @Test
    void a_failure_is_thrown_to_whoever_waits_for_room() {
        try (WriteBehind behind = new WriteBehind(WHERE, 64)) {
            CountDownLatch disk = new CountDownLatch(1);
            behind.write(64, memory -> {}, memory -> {
                await(disk);
                throw full;
            });
            Thread.ofPlatform().start(disk::countDown);

            assertSame(full, assertThrows(UserError.class, () -> hand(behind, 2)));
        }
        assertEquals(List.of(), done);
    }

    @Test
    void what_gives_something_back_is_done_after_a_failure_too() {
        WriteBehind behind = new WriteBehind(WHERE, 128);
        fail(behind);
        behind.finallyDo(() -> done.add("closed"));

        assertThrows(UserError.class, behind::close);

        assertEquals(List.of("closed"), done);
    }

    @Test
    void a_failure_that_was_told_is_not_thrown_by_closing() {
        WriteBehind behind = new WriteBehind(WHERE, 128);
        fail(behind);
        assertThrows(UserError.class, behind::await);

        behind.close();
    }

    /** As with Errors: a thread that ended would let others wait for ever. */
    @Test
    void a_failure_of_any_kind_is_told() {
        WriteBehind behind = new WriteBehind(WHERE, 128);
        behind.then(() -> {
            throw new StackOverflowError("deep");
        });

        assertThrows(StackOverflowError.class, behind::await);
        behind.close();
    }

    @Test
    void closing_lets_what_was_handed_over_be_done() {
        try (WriteBehind behind = new WriteBehind(WHERE, 1000)) {
            IntStream.range(0, 5).forEach(i -> hand(behind, i));
        }
        assertEquals(List.of(0, 1, 2, 3, 4), done);
    }

    @Test
    void what_fails_while_it_is_filled_is_not_written_and_holds_no_memory() {
        try (WriteBehind behind = new WriteBehind(WHERE, 64)) {
            assertThrows(IllegalStateException.class, () -> behind.write(64, memory -> {
                throw new IllegalStateException("no download");
            }, memory -> done.add("written")));

            hand(behind, 1);
            behind.await();
        }
        assertEquals(List.of(1), done);
    }

    @Test
    void more_can_be_handed_over_after_all_was_awaited() {
        try (WriteBehind behind = new WriteBehind(WHERE, 64)) {
            hand(behind, 1);
            behind.await();
            hand(behind, 2);
            behind.await();
        }
        assertEquals(List.of(1, 2), done);
    }

    @Test
    void an_interrupted_thread_hands_nothing_over_and_stays_interrupted() {
        try (WriteBehind behind = new WriteBehind(WHERE, 64)) {
            Thread.currentThread().interrupt();

            assertUserError(Code.OUTPUT, () -> hand(behind, 1), "out", "interrupted");

            assertTrue(Thread.interrupted(), "whoever interrupted wants to see it");
        }
        assertEquals(List.of(), done);
    }

    @Test
    void an_interrupted_thread_still_closes_behind_all_that_was_handed_over() {
        WriteBehind behind = new WriteBehind(WHERE, 1000);
        CountDownLatch closing = new CountDownLatch(1);
        behind.then(() -> await(closing));
        hand(behind, 1);
        Thread.currentThread().interrupt();
        Thread.ofPlatform().start(closing::countDown);

        behind.close();

        assertEquals(List.of(1), done);
        assertTrue(Thread.interrupted(), "whoever interrupted wants to see it");
    }

    @Test
    void the_thread_ends_with_closing_and_never_holds_up_the_process() throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        try (WriteBehind behind = new WriteBehind(WHERE, 64)) {
            behind.then(() -> threads.add(Thread.currentThread()));
            behind.await();
        }
        assertTrue(threads.getFirst().isDaemon());
        threads.getFirst().join();
        assertFalse(threads.getFirst().isAlive());
    }

    private void fail(WriteBehind behind) {
        behind.then(() -> {
            throw full;
        });
    }

    private void hand(WriteBehind behind, int number) {
        behind.write(64, memory -> memory.set(ValueLayout.JAVA_INT, 60, number),
                (MemorySegment memory) -> done.add(memory.get(ValueLayout.JAVA_INT, 60)));
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
