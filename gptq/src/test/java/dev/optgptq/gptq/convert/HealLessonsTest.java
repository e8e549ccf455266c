package dev.optgptq.gptq.convert;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** A text whose ids are the places of its tokens; draw k of a token is its place plus 1,000 (k + 1). */
class HealLessonsTest {

    private static final int LENGTH = 20;
    private static final int WINDOWS = 11;
    private static final int TOKENS = LENGTH * WINDOWS;
    private static final int DRAWS = 3;

    @Test
    void tokens_stay_in_order_and_a_third_are_the_models_own() {
        TokenSequences windows = lessons(1).windows(0, 200);

        int own = 0;
        for (int window = 0; window < windows.count(); window++) {
            int from = place(windows, window, 0);
            assertTrue(windows.ids()[window * LENGTH] < TOKENS, "the first token has no prediction");
            for (int i = 1; i < LENGTH; i++) {
                assertEquals(from + i, place(windows, window, i), "window " + window);
                own += windows.ids()[window * LENGTH + i] >= TOKENS ? 1 : 0;
            }
        }
        assertEquals(0.3, own / (200.0 * (LENGTH - 1)), 0.03);
        assertEquals(DRAWS + 1, Arrays.stream(windows.ids()).map(id -> id / 1000).distinct().count(), "draws used");
    }

    @Test
    void the_windows_of_a_pass_are_disjoint_and_the_next_pass_cuts_elsewhere() {
        HealLessons lessons = lessons(1);
        int each = WINDOWS - 1;
        Set<Integer> shifts = new HashSet<>();
        for (int pass = 0; pass < 4; pass++) {
            TokenSequences windows = lessons.windows(pass * each, each);
            Set<Integer> places = new HashSet<>();
            for (int i = 0; i < each * LENGTH; i++) {
                places.add(place(windows, i / LENGTH, i % LENGTH));
            }
            assertEquals(each * LENGTH, places.size(), "places of pass " + pass);
            shifts.add(place(windows, 0, 0) % LENGTH);
        }
        assertTrue(shifts.size() > 1, shifts.toString());
    }

    @Test
    void windows_depend_on_their_number_and_the_seed_alone() {
        int[] all = lessons(1).windows(0, 30).ids();

        assertArrayEquals(Arrays.copyOfRange(all, 12 * LENGTH, 17 * LENGTH), lessons(1).windows(12, 5).ids());
        assertNotEquals(Arrays.toString(all), Arrays.toString(lessons(2).windows(0, 30).ids()));
    }

    @Test
    void a_text_of_one_window_gives_it_again_and_again() {
        HealLessons lessons = new HealLessons(null, text(1), draws(), text -> {
            throw new AssertionError("not run over");
        }, new HealLessons.Extent(4, 2, 1), 1);
        TokenSequences windows = lessons.windows(0, 8);
        assertTrue(IntStream.range(0, 8).allMatch(window -> place(windows, window, 0) == 0));
    }

    /** Steps of 40,000 tokens, of which a round would have six. */
    @Test
    void the_original_runs_once_over_what_every_rate_is_tried_with() {
        int[] runs = new int[1];
        try (HealLessons lessons = new HealLessons(null, text(WINDOWS), draws(), windows -> {
            runs[0]++;
            return new ActivationStore(windows.tokens(), 1, Long.MAX_VALUE);
        }, new HealLessons.Extent(60, 2000, 25), 1)) {
            for (int rate = 0; rate < 3; rate++) {
                IntStream.range(0, 25).forEach(lessons::of);
            }
            assertEquals(1, runs[0]);
            assertArrayEquals(lessons.windows(24 * 2000, 2000).ids(), lessons.of(24).text().ids());
            lessons.of(25);
            assertEquals(2, runs[0]);
        }
    }

    private static int place(TokenSequences windows, int window, int i) {
        return windows.ids()[window * LENGTH + i] % 1000;
    }

    private static HealLessons lessons(long seed) {
        return new HealLessons(null, text(WINDOWS), draws(), text -> {
            throw new AssertionError("not run over");
        }, new HealLessons.Extent(4, 2, 1), seed);
    }

    private static TokenSequences text(int windows) {
        return new TokenSequences(IntStream.range(0, windows * LENGTH).toArray(), windows, LENGTH);
    }

    private static TokenDraws draws() {
        return new TokenDraws(IntStream.rangeClosed(1, DRAWS)
                .mapToObj(draw -> IntStream.range(0, TOKENS).map(place -> place + 1000 * draw).toArray())
                .toArray(int[][]::new));
    }
}
