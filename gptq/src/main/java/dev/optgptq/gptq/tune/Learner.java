package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/** A model being learned: its current weights, and the use of its gradients. */
public interface Learner {

    /**
     * The current weights.
     *
     * @param stored whether to round them as stored
     */
    GradientStream.Blocks weights(boolean stored);

    /** Matmul dtype of the weights that it learns, when they are not rounded as stored: F32 or BF16. */
    default DType products() {
        return DType.F32;
    }

    /** Tensors that sum the gradients of a block's learned parameters; the arena owns them. */
    BlockWeights zeroGradients(BlockWeights block, TensorArena owner);

    /** Tensors that sum the gradients of the head's learned parameters; null if there are none. */
    @Nullable
    Head zeroGradients(Head head, TensorArena owner);

    /** Adds a block's gradients. */
    void add(BlockWeights gradients);

    /** Adds the head's. */
    void add(Head gradients);

    /** Adds the gradients of the embeddings of some tokens: ids I32 [1, n], d F32 [n, hidden]. */
    default void addEmbedded(Tensor ids, int sequenceLength, Tensor d) {
        // the table is not learned
    }

    /**
     * Takes one optimizer step for all learned parameters.
     *
     * @param factor of the learner's own rates; of 1 where it has none
     * @return false if the gradients are not finite; then nothing has changed
     */
    boolean step(Schedule schedule, int step, double factor);

    /** Keeps the current state. */
    void keep();

    /** Restores the state kept last. */
    void revert();
}
