package dev.optgptq.gptq.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RingTest {

    @Test
    void what_the_ring_can_hold_fits_an_empty_one_wherever_it_was_emptied() {
        try (Ring ring = new Ring(640)) {
            assertNotNull(ring.take(300));
            ring.giveBack();

            assertNotNull(ring.take(640));
        }
    }

    @Test
    void a_full_ring_has_no_room_until_the_oldest_range_is_given_back() {
        try (Ring ring = new Ring(640)) {
            ring.take(320);
            ring.take(320);
            assertNull(ring.take(1));

            ring.giveBack();

            assertNotNull(ring.take(320));
            assertNull(ring.take(1));
        }
    }

    @Test
    void a_range_has_no_break_though_there_is_room_in_two_pieces() {
        try (Ring ring = new Ring(640)) {
            ring.take(192);
            ring.take(256);
            ring.giveBack();

            assertNull(ring.take(256), "192 bytes are free at the end and 192 at the beginning");
            assertNotNull(ring.take(192));
            assertNotNull(ring.take(192));
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {0, -1, 641})
    void what_can_never_fit_is_refused(long bytes) {
        try (Ring ring = new Ring(640)) {
            assertThrows(IllegalArgumentException.class, () -> ring.take(bytes));
        }
    }

    /** Whatever is taken and given back, bytes stay as they were written until then. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5})
    void ranges_never_overlap(long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Deque<MemorySegment> held = new ArrayDeque<>();
        byte next = 0;
        try (Ring ring = new Ring(4096)) {
            for (int step = 0; step < 2000; step++) {
                MemorySegment taken = ring.take(random.nextLong(1, random.nextBoolean() ? 4097 : 300));
                if (taken != null) {
                    held.addLast(taken.fill(next));
                    next++;
                }
                if (taken == null || random.nextInt(3) == 0) {
                    MemorySegment oldest = held.removeFirst();
                    byte mark = (byte) (next - held.size() - 1);
                    for (byte value : oldest.toArray(ValueLayout.JAVA_BYTE)) {
                        assertEquals(mark, value, "seed " + seed + ", step " + step);
                    }
                    ring.giveBack();
                }
            }
        }
    }
}
