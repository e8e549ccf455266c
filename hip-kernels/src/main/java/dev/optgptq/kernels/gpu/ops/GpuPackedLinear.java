package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.QuantOps.PackedProduct;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * y = x W^T straight from packed weights: on the matrix units for F16, where a GPU has them and inputs of a group are
 * neighbours, by packed_few.hip and packed_many.hip with waves of 32 and packed_units.hip with waves of 64; packed_vector.hip for up to 8 rows of anything else, packed_matrix.hip for more. Where a layer
 * has too few outputs to fill a card, blocks share its inputs, and their parts are summed in order. How many parts
 * there are depends on the shape alone, so the bits are the same on every device. With many fp16/bf16 rows,
 * dequantizing the weights for the library pays off.
 */
final class GpuPackedLinear {

    private static final int THREADS = 256;
    /** Outputs of a block. */
    private static final long OUTPUTS = 128;
    /** Rows of a block of packed_matrix.hip, and the most of packed_vector.hip. */
    private static final long MATRIX_ROWS = 64;
    private static final long VECTOR_ROWS = 8;
    /** Inputs that a block of packed_vector.hip reads at a time, and that pay for a part of packed_matrix.hip. */
    private static final long VECTOR_INPUTS = 256;
    private static final long MATRIX_INPUTS = 256;
    /** Enough blocks to fill a large card a few times. */
    private static final long BLOCKS = 512;

    private final GpuContext context;
    private final PackedUnits units;
    private final NarrowPackedUnits narrow;
    private final PackedTrial trial;

    GpuPackedLinear(GpuContext context) {
        this.context = context;
        this.units = new PackedUnits(context);
        this.narrow = new NarrowPackedUnits(context, units);
        this.trial = new PackedTrial(context, (weights, x, y) -> onUnits(weights, x, null, 0, y), this::widened);
    }

    PackedTrial trial() {
        return trial;
    }

    void run(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        if (y.elements() == 0) {
            return;
        }
        GpuBlas blas = context.blas();
        if (units.takes(weights, x) && trial.passes(weights.bits())) {
            onUnits(weights, x, bias, beta, y);
        } else if (x.dtype() != DType.F32 && blas != null && context.trustsProducts(x.dtype())) {
            dequantized(weights, blas, x, bias, beta, y);
        } else if (x.dtype() != DType.F32) {
            try (TensorArena arena = context.arena()) {
                plain(weights, Conversion.widened(context, x, arena), bias, beta, y);
            }
        } else {
            plain(weights, x, bias, beta, y);
        }
    }

    private void onUnits(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        if (narrow.takes(weights, x)) {
            narrow.multiply(List.of(new PackedProduct(weights, bias, y)), x, beta);
            return;
        }
        long parts = units.parts(weights);
        share(parts, bias, beta, y, (target, part) -> units.multiply(weights, x, target, parts, part));
    }

    /** By the plain kernels, which the others must agree with. */
    private void widened(PackedWeights weights, Tensor x, Tensor y) {
        try (TensorArena arena = context.arena()) {
            plain(weights, Conversion.widened(context, x, arena), null, 0, y);
        }
    }

    /** Several linears of the same inputs. */
    void run(List<PackedProduct> products, Tensor x) {
        if (x.elements() > 0 && narrow.takesTogether(products, x)
                && trial.passes(products.getFirst().weights().bits())) {
            narrow.multiply(products, x, 0);
        } else {
            products.forEach(each -> run(each.weights(), x, each.bias(), 0, each.y()));
        }
    }

    private void plain(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        long across = Math.ceilDiv(y.columns(), OUTPUTS);
        long down = x.rows() <= VECTOR_ROWS ? 1 : Math.ceilDiv(x.rows(), MATRIX_ROWS);
        long most = Math.ceilDiv(x.columns(), x.rows() <= VECTOR_ROWS ? VECTOR_INPUTS : MATRIX_INPUTS);
        long parts = Math.clamp(Math.ceilDiv(BLOCKS, across * down), 1, Math.max(1, most));
        if (parts == 1 && beta == 0) {
            multiply(weights, x, bias, y, parts, 0);
        } else {
            share(parts, bias, beta, y, (target, part) -> multiply(weights, x, null, target, parts, part));
        }
    }

    /** Computes parts of the inputs. */
    @FunctionalInterface
    private interface Parts {
        /** @param part elements of the target from one part to the next */
        void into(Tensor target, long part);
    }

    /** Parts side by side, then their sum. */
    private void share(long parts, @Nullable Tensor bias, float beta, Tensor y, Parts body) {
        try (TensorArena arena = context.arena()) {
            Tensor sums = arena.matrix(DType.F32, parts * y.rows(), y.columns());
            body.into(sums, y.elements());
            Extent extent = Extent.byRows(y);
            context.kernel("packed", "sum_parts").launch(extent.blocks(), Extent.THREADS, 0, sums, (int) parts, bias,
                    beta, y, y.stride(), y.rows(), y.columns());
        }
    }

    private void dequantized(PackedWeights w, GpuBlas blas, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        try (TensorArena arena = context.arena()) {
            Tensor weights = arena.matrix(x.dtype(), w.inputs(), w.outputs());
            Extent extent = new Extent(w.inputs() / 32, w.outputs());
            context.kernel("packed", "dequantize_halves").launch(extent.blocks(), Extent.THREADS, 0, w.bits(),
                    w.zeroOffset(), w.qweight(), w.qweight().stride(), w.qzeros(), w.qzeros().stride(), w.scales(),
                    w.scales().stride(), w.groupOf(), w.inputs(), w.outputs(), weights, weights.stride(),
                    Extent.code(x.dtype()));
            blas.gemm(1, x, false, weights, false, beta, y);
            if (bias != null) {
                Extent all = Extent.byRows(y);
                context.kernel("elementwise", "add_to").launch(all.blocks(), Extent.THREADS, 0, y, y.stride(), bias, 0L,
                        all.columns());
            }
        }
    }

    /** @param part elements of y from one part of the inputs to the next */
    private void multiply(PackedWeights w, Tensor x, @Nullable Tensor bias, Tensor y, long parts, long part) {
        String bits = "bits" + w.bits();
        long across = Math.ceilDiv(w.outputs(), OUTPUTS);
        if (x.rows() <= VECTOR_ROWS) {
            context.kernel("packed_vector", bits + "_rows" + atLeast(x.rows())).launchGrid(across, parts, 1, THREADS, 0,
                    w.zeroOffset(), w.qweight(), w.qweight().stride(), w.qzeros(), w.qzeros().stride(), w.scales(),
                    w.scales().stride(), w.groupOf(), w.inputs(), w.outputs(), x, x.stride(), (int) x.rows(), bias, y,
                    y.stride(), part);
        } else {
            context.kernel("packed_matrix", bits).launchGrid(across, Math.ceilDiv(x.rows(), MATRIX_ROWS), parts,
                    THREADS, 0, w.zeroOffset(), w.qweight(), w.qweight().stride(), w.qzeros(), w.qzeros().stride(),
                    w.scales(), w.scales().stride(), w.groupOf(), w.inputs(), w.outputs(), x, x.stride(), x.rows(),
                    bias, y, y.stride(), part);
        }
    }

    /** The kernel for this number of rows: 1, 2, 4 or 8. */
    private static int atLeast(long rows) {
        return rows <= 2 ? (int) rows : rows <= 4 ? 4 : 8;
    }
}
