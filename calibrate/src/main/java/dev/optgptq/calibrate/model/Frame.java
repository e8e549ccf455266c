package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps;
import org.jspecify.annotations.Nullable;

/**
 * One batch on its way through one block: what all steps share.
 *
 * @param buffers cut to the batch
 * @param halves F16 or BF16 [N, the widest of what is multiplied]; null where products are in float32
 * @param context where its rows stand
 * @param keeps whether what the gradients need stays in the buffers
 * @param tap sees what enters linears
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
     * x F32 [N, width] as it is multiplied: itself, or rounded to the matmul dtype, in memory that the next call takes.
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
