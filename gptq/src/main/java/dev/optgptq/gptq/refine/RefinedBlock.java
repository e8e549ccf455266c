package dev.optgptq.gptq.refine;

import java.util.List;
import java.util.function.Consumer;

/** A block that was refined, on the device until it is closed. */
public final class RefinedBlock implements AutoCloseable {

    private final Contest contest;

    /** Takes ownership of the contest. */
    RefinedBlock(Contest contest) {
        this.contest = contest;
    }

    /** Lends the linears of the best candidate, in forward order; each is valid during its call. */
    public void eachLinear(Consumer<SolvedLinear> use) {
        contest.best().each(use);
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
