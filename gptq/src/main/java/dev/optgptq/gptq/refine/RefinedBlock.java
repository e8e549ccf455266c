package dev.optgptq.gptq.refine;

import java.util.List;

/** A block that was refined, on the device until it is closed. */
public final class RefinedBlock implements AutoCloseable {

    private final Contest contest;

    /** Takes ownership of the contest. */
    RefinedBlock(Contest contest) {
        this.contest = contest;
    }

    /** The linears of the best candidate, in forward order. */
    public List<SolvedLinear> linears() {
        return contest.best().linears();
    }

    /** The outcome of every step. */
    public List<StepOutcome> outcomes() {
        return contest.outcomes();
    }

    @Override
    public void close() {
        contest.close();
    }
}
