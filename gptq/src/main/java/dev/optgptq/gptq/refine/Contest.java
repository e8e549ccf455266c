package dev.optgptq.gptq.refine;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Candidates for a block, of which the best so far is kept: the one with the least error on held-out sequences. */
final class Contest implements AutoCloseable {

    private final int block;
    private final BlockJudge judge;
    private final List<StepOutcome> outcomes = new ArrayList<>();
    private @Nullable Candidate best;
    private double error;

    /** Takes the judge over. */
    Contest(int block, BlockJudge judge) {
        this.block = block;
        this.judge = judge;
    }

    /** What all others are held against. Takes it over. */
    void first(Candidate candidate) {
        best = candidate;
        error = judge.error(candidate.weights());
    }

    /**
     * Keeps the candidate if it is better than the best so far, and closes whichever of the two is not. One that is not
     * finite loses.
     *
     * @param margin by what share it must lower the error to be better
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
