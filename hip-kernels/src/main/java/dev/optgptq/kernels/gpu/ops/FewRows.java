package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.MatrixOps.Product;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Linears in fp16/bf16 of few rows, where reading the weights takes the time: linear_few.hip on matrix units with waves of 32, up to three
 * of the same inputs in one launch.
 */
final class FewRows {

    private static final int WAVE = 32;
    private static final int WAVES = 16;
    /** Rows at most, and outputs of a block. */
    private static final long ROWS = 8;
    private static final long OUTPUTS = 32;
    /** Inputs that a wave takes at a time. */
    private static final long RUN = 32;
    /** Linears of one launch. */
    private static final int TOGETHER = 3;
    /** Of a small layer that it is tried on: rows, inputs, outputs, and what sums may differ by, of the largest. */
    private static final int TRIED_ROWS = 5;
    private static final int TRIED_INPUTS = 1120;
    private static final int TRIED_OUTPUTS = 70;
    private static final float TOLERANCE = 0x1p-16f;

    private final GpuContext context;
    private final Plain plain;
    private final TriedKernels<DType> tried;

    /** y = x w^T by another kernel, which it must agree with. */
    @FunctionalInterface
    interface Plain {
        void run(Tensor x, Tensor w, Tensor y);
    }

    FewRows(GpuContext context, Plain plain) {
        this.context = context;
        this.plain = plain;
        this.tried = new TriedKernels<>(context,
                type -> "linears of few rows on the matrix units with " + type + " are");
    }

    boolean takes(List<Product> products, Tensor x) {
        return x.dtype() != DType.F32 && x.rows() > 0 && x.rows() <= ROWS && x.columns() > 0 && x.columns() % RUN == 0
                && products.size() <= TOGETHER && context.waveWidth() == WAVE && Extent.isAligned(context, x)
                && products.stream().map(Product::w)
                        .allMatch(w -> w.dtype() == x.dtype() && Extent.isAligned(context, w))
                && context.hasMatrixUnits() && isRight(x.dtype());
    }

    boolean isRight(DType dtype) {
        return tried.areRight(dtype, () -> agrees(dtype));
    }

    private boolean agrees(DType dtype) {
        try (TensorArena arena = context.arena()) {
            Agreement agreement = new Agreement(context);
            Tensor x = arena.matrix(dtype, TRIED_ROWS, TRIED_INPUTS);
            Tensor w = arena.matrix(dtype, TRIED_OUTPUTS, TRIED_INPUTS);
            agreement.fill(x);
            agreement.fill(w);
            Tensor found = arena.matrix(DType.F32, TRIED_ROWS, TRIED_OUTPUTS);
            Tensor expected = arena.matrix(DType.F32, TRIED_ROWS, TRIED_OUTPUTS);
            run(List.of(new Product(w, null, found)), x, 0);
            plain.run(x, w, expected);
            return agreement.isClose(found, expected, TOLERANCE);
        }
    }

    void run(List<Product> products, Tensor x, float beta) {
        List<@Nullable Object> arguments = new ArrayList<>(
                Arrays.asList(x, x.stride(), (int) x.rows(), Math.toIntExact(x.columns()), beta));
        long blocks = 0;
        for (Product each : products) {
            blocks += Math.ceilDiv(each.w().rows(), OUTPUTS);
            arguments.addAll(Arrays.asList(each.w(), each.w().stride(), Math.toIntExact(each.w().rows()), each.bias(),
                    each.y(), each.y().stride()));
        }
        for (int absent = products.size(); absent < TOGETHER; absent++) {
            arguments.addAll(Arrays.asList(null, 0L, 0, null, null, 0L));
        }
        context.kernel("linear_few", x.dtype() == DType.F16 ? "linears_f16" : "linears_bf16").launch(blocks,
                WAVES * WAVE, 0, arguments.toArray());
    }
}
