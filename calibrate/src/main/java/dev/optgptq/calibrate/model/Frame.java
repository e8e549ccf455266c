package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps;
import java.util.Objects;
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
     * x [N, width] as matmul input: itself if it is in the matmul dtype, or rounded to that, in memory that the next call reuses.
     */
    Tensor factor(NeuralOps neural, Tensor x) {
        Tensor rounded = x.dtype() == DType.F32 ? narrow(x.rows(), x.columns()) : null;
        if (rounded == null) {
            return x;
        }
        neural.convert(x, rounded);
        return rounded;
    }

    /** Whether an op may write a matmul input rounded, since nothing else reads it. */
    boolean roundsOnce() {
        return halves != null && !keeps;
    }

    /** Memory for a matmul input of x's shape, in the matmul dtype; the next one reuses it. */
    Tensor rounded(Tensor x) {
        return Objects.requireNonNull(narrow(x.rows(), x.columns()), "the matmul dtype is float32");
    }

    /** The same memory; null where the matmul dtype is float32. */
    @Nullable
    Tensor narrow(long rows, long columns) {
        return halves == null ? null : halves.rows(0, rows).columns(0, columns);
    }
}
