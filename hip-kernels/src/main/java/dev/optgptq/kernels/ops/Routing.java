package dev.optgptq.kernels.ops;

/**
 * How a router chooses experts for a token and weighs them.
 *
 * @param scoring the function from logits to scores
 * @param experts E, up to 1024
 * @param active k, how many a token goes to
 * @param renormalise weights are divided by their sum; of sigmoid scores, by their sum and 1e-20
 * @param scale multiplies the weights at last
 * @param groups number of groups of neighbouring experts, of equal size; 1 for none
 * @param activeGroups groups that a token's experts may come from
 * @param groupScore the score by which groups are chosen
 */
public record Routing(Scoring scoring, int experts, int active, boolean renormalise, float scale, int groups,
        int activeGroups, GroupScore groupScore) {

    private static final int MOST_EXPERTS = 1024;

    /** SOFTMAX over all experts, or each expert's SIGMOID. */
    public enum Scoring {
        SOFTMAX, SIGMOID
    }

    /** The largest score of a group's experts, with bias, or the sum of its two largest. */
    public enum GroupScore {
        MAX, SUM_OF_TWO
    }

    public Routing {
        if (experts < 1 || experts > MOST_EXPERTS || groups < 1 || experts % groups != 0 || activeGroups < 1
                || activeGroups > groups || active < 1 || active > experts / groups * activeGroups) {
            throw new IllegalArgumentException(
                    "bad routing: experts " + experts + " (1 to " + MOST_EXPERTS + "), active "
                            + active + ", groups " + groups + ", active groups " + activeGroups);
        }
    }

    /** Without groups. */
    public Routing(Scoring scoring, int experts, int active, boolean renormalise, float scale) {
        this(scoring, experts, active, renormalise, scale, 1, 1, GroupScore.MAX);
    }

    /**
     * Whether the logits themselves decide a choice, since scores are monotonic in them: then it does not depend on
     * rounding.
     */
    public boolean choosesByLogit(boolean biased) {
        return !biased && (groups == 1 || groupScore == GroupScore.MAX);
    }
}
