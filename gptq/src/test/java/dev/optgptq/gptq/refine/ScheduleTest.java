package dev.optgptq.gptq.refine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ScheduleTest {

    @ParameterizedTest
    @CsvSource({"20, 13", "10, 8", "7, 3", "5, 1", "30, 112"})
    void every_sequence_is_seen_before_any_is_seen_again(int steps, int sequences) {
        int[] seen = new int[sequences];

        for (int[] step : Schedule.of(steps, sequences, 5).order()) {
            for (int sequence : step) {
                seen[sequence]++;
                int least = Arrays.stream(seen).min().orElseThrow();
                int most = Arrays.stream(seen).max().orElseThrow();
                assertTrue(most - least <= 1, () -> "seen " + Arrays.toString(seen));
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"13, 8", "3, 3", "1, 1"})
    void a_step_sees_eight_sequences_or_all_that_there_are(int sequences, int expected) {
        int[][] order = Schedule.of(4, sequences, 0).order();

        assertEquals(4, order.length);
        for (int[] step : order) {
            assertEquals(expected, step.length);
        }
    }

    @Test
    void the_same_seed_gives_the_same_order_and_another_seed_another() {
        int[][] order = Schedule.of(6, 20, 1).order();

        assertArrayEquals(order, Schedule.of(6, 20, 1).order());
        assertFalse(Arrays.deepEquals(order, Schedule.of(6, 20, 2).order()), "seeds 1 and 2");
    }

    @Test
    void rates_fall_along_half_a_cosine_to_nearly_nothing() {
        Schedule schedule = Schedule.of(100, 20, 0);
        double[] rates = IntStream.range(0, 100).mapToDouble(step -> schedule.adam(step, 0.02, 1).rate()).toArray();

        assertEquals(0.02, rates[0], 1e-9);
        assertEquals(0.01, rates[50], 1e-9, "half way");
        assertEquals(0.02 * 0.75, rates[33], 2e-4, "cos(pi / 3) = 1/2 after a third");
        for (int step = 1; step < 100; step++) {
            assertTrue(rates[step] < rates[step - 1], "step " + step);
        }
        assertTrue(rates[99] < 1e-5, () -> "in the end " + rates[99]);
    }

    /** A loss that is summed and not averaged has gradients that much larger; Adam's epsilon follows, nothing else does. */
    @Test
    void terms_that_are_summed_scale_the_epsilon_alone() {
        Schedule schedule = Schedule.of(10, 4, 0);

        assertEquals(schedule.adam(3, 0.01, 1).epsilon() * 1000, schedule.adam(3, 0.01, 1000).epsilon(), 1e-9);
        assertEquals(schedule.adam(3, 0.01, 1).rate(), schedule.adam(3, 0.01, 1000).rate());
        assertEquals(4, schedule.adam(3, 0.01, 1).t(), "the optimizer counts from 1");
    }
}
