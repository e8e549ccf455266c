package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.MatrixOps.Product;
import java.util.ArrayList;
import java.lang.System.Logger;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Linears in fp16/bf16 of few rows, where reading the weights takes the time: linear_few.hip on matrix units with waves of 32, up to three
 * of the same inputs in one launch.
 */
final class FewRows {

    private static final Logger LOG = System.getLogger(FewRows.class.getName());

    private static final int WAVE = 32;
    private static final int WAVES = 16;
    /** Rows at most, and outputs of a block. */
    private static final long ROWS = 8;
    private static final long OUTPUTS = 32;
    /** Inputs that a wave takes at a time. */
    private static final long RUN = 32;
    /** Linears of one launch. */
    private static final int TOGETHER = 3;
    private static final long ALIGNMENT = 16;
    /** Of a small layer that it is tried on: rows, inputs, outputs, and what sums may differ by, of the largest. */
    private static final int TRIED_ROWS = 5;
    private static final int TRIED_INPUTS = 1120;
    private static final int TRIED_OUTPUTS = 70;
    private static final float TOLERANCE = 0x1p-16f;

    private final GpuContext context;
    private final Plain plain;
    private final Map<DType, Boolean> right = new EnumMap<>(DType.class);

    /** y = x w^T by another kernel, which it must agree with. */
    @FunctionalInterface
    interface Plain {
        void run(Tensor x, Tensor w, Tensor y);
    }

    FewRows(GpuContext context, Plain plain) {
        this.context = context;
        this.plain = plain;
    }

    boolean takes(List<Product> products, Tensor x) {
        return x.dtype() != DType.F32 && x.rows() > 0 && x.rows() <= ROWS && x.columns() > 0 && x.columns() % RUN == 0
                && products.size() <= TOGETHER && context.waveWidth() == WAVE && isAligned(x)
                && products.stream().map(Product::w).allMatch(w -> w.dtype() == x.dtype() && isAligned(w))
                && context.hasMatrixUnits() && isRight(x.dtype());
    }

    /** Tried once on this GPU. */
    boolean isRight(DType dtype) {
        return right.computeIfAbsent(dtype, type -> {
            try (TensorArena arena = context.arena()) {
                Agreement agreement = new Agreement(context);
                Tensor x = arena.matrix(type, TRIED_ROWS, TRIED_INPUTS);
                Tensor w = arena.matrix(type, TRIED_OUTPUTS, TRIED_INPUTS);
                agreement.fill(x);
                agreement.fill(w);
                Tensor found = arena.matrix(DType.F32, TRIED_ROWS, TRIED_OUTPUTS);
                Tensor expected = arena.matrix(DType.F32, TRIED_ROWS, TRIED_OUTPUTS);
                run(List.of(new Product(w, null, found)), x, 0);
                plain.run(x, w, expected);
                boolean agrees = agreement.isClose(found, expected, TOLERANCE);
                if (!agrees) {
                    LOG.log(Logger.Level.WARNING,
                            context.deviceName() + ": linears of few rows on the matrix units are wrong with "
                                    + type + " on this GPU and are not used for it");
                }
                return agrees;
            }
        });
    }

    private boolean isAligned(Tensor tensor) {
        return context.address(tensor) % ALIGNMENT == 0 && tensor.stride() * tensor.dtype().bytes() % ALIGNMENT == 0;
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
