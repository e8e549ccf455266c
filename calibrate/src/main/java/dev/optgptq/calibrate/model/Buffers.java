package dev.optgptq.calibrate.model;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.Map;

/** Scratch memory for batches of up to {@code rows} tokens. */
record Buffers(long rows, Map<Scratch, Tensor> matrices) {

    static Buffers allocate(Widths widths, TensorArena arena, int rows) {
        Map<Scratch, Tensor> matrices = new EnumMap<>(Scratch.class);
        widths.all().forEach((what, width) -> matrices.put(what, arena.matrix(DType.F32, rows, width)));
        return new Buffers(rows, matrices);
    }

    /** F32 [rows, width], the same memory at every call. */
    Tensor of(Scratch what, int width) {
        Tensor matrix = matrices.get(what);
        if (matrix == null) {
            throw new IllegalStateException(what + " was not allocated");
        }
        return matrix.columns() == width ? matrix : matrix.columns(0, width);
    }

    /** The same memory, cut to n tokens. */
    Buffers first(long n) {
        if (n == rows) {
            return this;
        }
        Map<Scratch, Tensor> cut = new EnumMap<>(Scratch.class);
        matrices.forEach((what, matrix) -> cut.put(what, matrix.rows(0, n)));
        return new Buffers(n, cut);
    }
}
