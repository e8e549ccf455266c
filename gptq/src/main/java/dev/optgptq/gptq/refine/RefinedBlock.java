package dev.optgptq.gptq.refine;

import java.util.List;

/** A block that was refined, on the device until it is closed. */
public final class RefinedBlock implements AutoCloseable {

    private final Contest contest;

    /** Takes the contest over. */
    RefinedBlock(Contest contest) {
        this.contest = contest;
    }

    /** Its linears as the best candidate has them, in forward order. */
    public List<SolvedLinear> linears() {
        return contest.best().linears();
    }

    /** What every step did. */
    public List<StepOutcome> outcomes() {
        return contest.outcomes();
    }

    @Override
    public void close() {
        contest.close();
    }
}
