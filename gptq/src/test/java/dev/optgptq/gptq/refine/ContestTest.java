package dev.optgptq.gptq.refine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Path;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Candidates are the original block with its last linear scaled: the further from 1, the worse. */
class ContestTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void the_better_one_is_kept_and_the_loser_is_closed() {
        inContest((block, contest) -> {
            long one = block.device.memoryInUse();
            Candidate better = block.scaled(1.1f);

            contest.challenge("better", better, 0, System.nanoTime(), "");

            assertSame(better, contest.best());
            assertEquals(one, block.device.memoryInUse(), "one candidate is left");
            StepOutcome outcome = contest.outcomes().getLast();
            assertTrue(outcome.kept(), outcome::toString);
            assertTrue(outcome.after() < outcome.before(), outcome::toString);
        });
    }

    @Test
    void a_worse_one_is_closed_and_the_next_is_held_against_the_best() {
        inContest((block, contest) -> {
            long one = block.device.memoryInUse();
            Candidate best = contest.best();

            contest.challenge("worse", block.scaled(3), 0, System.nanoTime(), "");
            contest.challenge("as good", block.scaled(1.5f), 0, System.nanoTime(), "");

            assertSame(best, contest.best());
            assertEquals(one, block.device.memoryInUse(), "one candidate is left");
            assertFalse(contest.outcomes().get(0).kept());
            assertFalse(contest.outcomes().get(1).kept(), "what is only as good gains nothing");
            assertEquals(contest.outcomes().get(0).before(), contest.outcomes().get(1).before());
        });
    }

    @Test
    void one_that_is_not_finite_loses() {
        inContest((block, contest) -> {
            Candidate best = contest.best();

            contest.challenge("broken", block.scaled(Float.NaN), 0, System.nanoTime(), "");

            assertSame(best, contest.best());
            assertTrue(Double.isNaN(contest.outcomes().getLast().after()));
        });
    }

    /** The error of a scale f is (f - 1)^2 times a constant: from 1.5 to 1.4 it falls by 36 %. */
    @Test
    void what_gains_less_than_its_margin_is_not_kept() {
        inContest((block, contest) -> {
            contest.challenge("token weights", block.scaled(1.4f), 0.37, System.nanoTime(), "");
            assertFalse(contest.outcomes().getLast().kept(), "36 % are less than 37");

            contest.challenge("token weights", block.scaled(1.4f), 0.35, System.nanoTime(), "");
            assertTrue(contest.outcomes().getLast().kept(), "36 % are more than 35");
        });
    }

    @Test
    void without_a_first_candidate_there_is_no_best() {
        try (TinyBlock block = new TinyBlock(TinyModel.MPT, folder.resolve("model"));
                Contest contest = new Contest(7, block.judge())) {
            assertTrue(String.valueOf(assertThrows(IllegalStateException.class, contest::best).getMessage())
                    .contains("block 7"));
        }
    }

    /** In which 1.5 stands first. */
    private void inContest(BiConsumer<TinyBlock, Contest> test) {
        try (TinyBlock block = new TinyBlock(TinyModel.MPT, folder.resolve("model"))) {
            block.solve(Variants.PLAIN).close();
            long before = block.device.memoryInUse();
            try (Contest contest = new Contest(0, block.judge())) {
                contest.first(block.scaled(1.5f));
                test.accept(block, contest);
            }
            assertEquals(before, block.device.memoryInUse(), "everything that was allocated is freed");
        }
    }
}
