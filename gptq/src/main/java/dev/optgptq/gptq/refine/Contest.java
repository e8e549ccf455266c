package dev.optgptq.gptq.refine;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Keeps the best of a block's candidates: the one with the smallest error on held-out sequences. */
final class Contest implements AutoCloseable {

    private final int block;
    private final BlockJudge judge;
    private final List<StepOutcome> outcomes = new ArrayList<>();
    private @Nullable Candidate best;
    private double error;

    /** Takes ownership of the judge. */
    Contest(int block, BlockJudge judge) {
        this.block = block;
        this.judge = judge;
    }

    /** The first candidate, with which others are compared. Takes ownership of it. */
    void first(Candidate candidate) {
        best = candidate;
        error = judge.error(candidate.weights());
    }

    /**
     * Keeps the candidate if it is better than the best so far, and closes the loser. A candidate with a non-finite
     * error loses.
     *
     * @param margin by what share it must lower the error to be kept
     * @param started System.nanoTime() before work on it began
     * @return whether it was kept
     */
    boolean challenge(String step, Candidate candidate, double margin, long started, String note) {
        double found;
        try {
            found = judge.error(candidate.weights());
        } catch (RuntimeException e) {
            candidate.close();
            throw e;
        }
        boolean kept = found < error * (1 - margin);
        outcomes.add(new StepOutcome(step, block, error, found, kept, (System.nanoTime() - started) * 1e-9, note));
        if (kept) {
            best().close();
            best = candidate;
            error = found;
        } else {
            candidate.close();
        }
        return kept;
    }

    Candidate best() {
        if (best == null) {
            throw new IllegalStateException("block " + block + " has no solution yet");
        }
        return best;
    }

    List<StepOutcome> outcomes() {
        return outcomes;
    }

    @Override
    public void close() {
        judge.close();
        if (best != null) {
            best.close();
        }
    }
}
