package dev.optgptq.calibrate.capture;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/** Computes sqrt(s_t) x_t for tokens of weights s_t, in buffers that are kept from batch to batch. */
final class WeightedRows {

    private final Device device;
    private final TensorArena arena;
    private final long widest;
    private @Nullable Tensor weighted;
    private @Nullable Tensor ofSome;
    /** For an fp16/bf16 matmul dtype: x in F32, and the weighted rows rounded. */
    private @Nullable Tensor widened;
    private @Nullable Tensor rounded;
    private long batchFirst;

    /**
     * @param arena owns the buffers
     * @param widest columns of any x
     */
    WeightedRows(Device device, TensorArena arena, long widest) {
        this.device = device;
        this.arena = arena;
        this.widest = widest;
    }

    /** The tokens that come next are a batch from this one on. */
    void batch(long firstToken) {
        batchFirst = firstToken;
    }

    /**
     * The weighted rows in x's dtype; valid until the next call.
     *
     * @param factors sqrt(s_t), F32 [1, N], by token
     * @param firstToken that of x's first row, where x has all tokens
     * @param tokens I32 [1, rows], which tokens of the batch x has; null for all
     */
    Tensor of(Tensor x, Tensor factors, long firstToken, @Nullable Tensor tokens) {
        Tensor mine = tokens == null ? factors.columns(firstToken, x.rows()) : gathered(factors, tokens);
        weighted = atLeast(weighted, DType.F32, x);
        Tensor rows = weighted.rows(0, x.rows()).columns(0, x.columns());
        if (x.dtype() == DType.F32) {
            device.gradient().scaleRows(x, mine, rows);
            return rows;
        }
        widened = atLeast(widened, DType.F32, x);
        Tensor wide = widened.rows(0, x.rows()).columns(0, x.columns());
        device.neural().convert(x, wide);
        device.gradient().scaleRows(wide, mine, rows);
        rounded = atLeast(rounded, x.dtype(), x);
        Tensor halves = rounded.rows(0, x.rows()).columns(0, x.columns());
        device.neural().convert(rows, halves);
        return halves;
    }

    /** F32 [1, tokens]: the factors of some of the batch. */
    private Tensor gathered(Tensor factors, Tensor tokens) {
        if (ofSome == null || ofSome.columns() < tokens.columns()) {
            ofSome = arena.vector(DType.F32, tokens.columns());
        }
        Tensor mine = ofSome.columns(0, tokens.columns());
        device.matrix().gatherRows(column(factors.columns(batchFirst, factors.columns() - batchFirst)), tokens,
                column(mine));
        return mine;
    }

    private static Tensor column(Tensor row) {
        return Tensor.dense(DType.F32, row.columns(), 1, row.memory());
    }

    /** The buffer if it holds x, else a new one that holds rows of any width. */
    private Tensor atLeast(@Nullable Tensor buffer, DType dtype, Tensor x) {
        return buffer != null && buffer.rows() >= x.rows() ? buffer : arena.matrix(dtype, x.rows(), widest);
    }
}
