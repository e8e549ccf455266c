package dev.optgptq.calibrate.family;

import dev.optgptq.kernels.ops.NeuralOps.Activation;
import org.jspecify.annotations.Nullable;

/** The feed-forward part of a block, applied to every token by itself. */
public sealed interface FeedForward permits FeedForward.Dense, FeedForward.Experts {

    /**
     * One MLP: down(f(gate(x)) * up(x)) or down(f(up(x))).
     *
     * @param form how its two or three linears are joined
     */
    record Dense(Form form, int intermediateSize) implements FeedForward {}

    /** How the linears of an MLP are joined. */
    sealed interface Form {
        /** f(gate) * up. */
        record Gated(Activation activation) implements Form {}

        /** f(up). */
        record Plain(Activation activation) implements Form {}

        /** (min(max(up, -limit), limit) + 1) * g sigmoid(alpha g), g = min(gate, limit) (gpt-oss). */
        record Clamped(float alpha, float limit) implements Form {}

        default boolean hasGate() {
            return !(this instanceof Plain);
        }
    }

    /**
     * A mixture of experts (Shazeer et al. 2017): every token goes through a few of many MLPs.
     *
     * @param each of the routed experts
     * @param shared an MLP that every token goes through besides
     * @param sharedGated whether its output is multiplied by the sigmoid of a gate
     */
    record Experts(Router router, Dense each, @Nullable Dense shared, boolean sharedGated) implements FeedForward {}

    /**
     * How experts are chosen and weighed.
     *
     * @param active how many a token goes through
     * @param renormalise whether their weights are made to sum to 1
     * @param scale multiplies the weights
     * @param groups into which experts fall; 1 for none
     * @param activeGroups of which experts may be chosen
     */
    record Router(Scoring scoring, int experts, int active, boolean renormalise, float scale, int groups,
            int activeGroups, GroupScore groupScore) {

        /** The function from logits to scores. */
        public enum Scoring {
            SOFTMAX, SIGMOID
        }

        /** The score of a group: its best expert, or the sum of its best two. */
        public enum GroupScore {
            MAX, SUM_OF_TWO
        }
    }
}
