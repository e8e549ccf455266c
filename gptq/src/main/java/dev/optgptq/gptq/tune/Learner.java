package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/** A model that learns: what is computed with, and what becomes of the gradients. */
public interface Learner {

    /**
     * What it computes with.
     *
     * @param stored whether it is rounded as it would be stored
     */
    GradientStream.Blocks weights(boolean stored);

    /** Where the gradients of what is learned in a block are summed; the arena owns them. */
    BlockWeights zeroGradients(BlockWeights block, TensorArena owner);

    /** Where the gradients of what is learned of the head are summed; null where nothing is. */
    @Nullable
    Head zeroGradients(Head head, TensorArena owner);

    /** Adds a block's gradients. */
    void add(BlockWeights gradients);

    /** Adds the head's. */
    void add(Head gradients);

    /** Adds what the gradient for the embeddings of some tokens says: ids I32 [1, n], d F32 [n, hidden]. */
    default void addEmbedded(Tensor ids, int sequenceLength, Tensor d) {
        // the table stays
    }

    /**
     * Moves all that is learned one step down its gradients.
     *
     * @param factor of the learner's own rates; of 1 where it has none
     * @return false where the gradients are not finite; nothing has moved then
     */
    boolean step(Schedule schedule, int step, double factor);

    /** Remembers all as it is now. */
    void keep();

    /** Goes back to what was kept last. */
    void revert();
}
