package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps;
import org.jspecify.annotations.Nullable;

/**
 * One batch in one block: the state shared by all steps.
 *
 * @param buffers cut to the batch
 * @param halves F16 or BF16 [N, the widest matmul input]; null if the matmul dtype is float32
 * @param context positions of its rows
 * @param keeps whether what the gradients need stays in the buffers
 * @param tap receives the inputs of linears
 */
record Frame(BlockWeights weights, Buffers buffers, @Nullable Tensor halves, Tables tables, TokenContext context,
        boolean keeps, InputTap tap) {

    BlockSpec spec() {
        return weights.spec();
    }

    /** The same with a tap that is told that only some of the batch pass. */
    Frame ofSome(Tensor tokens) {
        return new Frame(weights, buffers, halves, tables, context, keeps, tap.ofSome(tokens));
    }

    /** Scratch memory F32 [N, width]. */
    Tensor scratch(Scratch what, int width) {
        return buffers.of(what, width);
    }

    /**
     * x F32 [N, width] as matmul input: itself, or rounded to the matmul dtype, in memory that the next call reuses.
     */
    Tensor factor(NeuralOps neural, Tensor x) {
        if (halves == null) {
            return x;
        }
        Tensor rounded = halves.rows(0, x.rows()).columns(0, x.columns());
        neural.convert(x, rounded);
        return rounded;
    }
}
