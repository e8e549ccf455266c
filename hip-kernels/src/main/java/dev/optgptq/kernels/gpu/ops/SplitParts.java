package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A matrix as an exact sum of matrices in bfloat16, whose products are exact in float32. */
record SplitParts(GpuContext context) {

    /** Parts of 8 bits that hold the 24 bits of a float32, and the 11 of a float16. */
    static final int OF_FLOAT32 = 3;
    static final int OF_FLOAT16 = 2;

    /** Parts in BF16, the smallest first. */
    List<Tensor> of(Tensor source, int parts, TensorArena arena) {
        List<Tensor> found = new ArrayList<>();
        for (int i = 0; i < parts; i++) {
            found.add(arena.matrix(DType.BF16, source.rows(), source.columns()));
        }
        Extent extent = Extent.byRows(source);
        context.kernel("convert", "split").launch(extent.blocks(), Extent.THREADS, 0, source,
                Extent.code(source.dtype()),
                source.stride(), found.get(0), found.get(1), parts == OF_FLOAT32 ? found.get(2) : null,
                source.columns());
        Collections.reverse(found);
        return found;
    }
}
