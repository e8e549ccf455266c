package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;

/** Packed weights times rows of F16 on the matrix units, by packed_units.hip. */
final class PackedUnits {

    private static final String SOURCE = "packed_units";
    private static final int WAVES = 8;
    private static final int WAVES_ACROSS = 4;
    /** Waves that share the inputs of a block, and inputs that one takes at a time. */
    private static final long ALONG = 2 * 128;
    /** Blocks that fill a large GPU. */
    private static final long BLOCKS = 256;
    /** With more rows, weights are dequantized for the library. */
    private static final long MOST_ROWS = 128;

    private final GpuContext context;

    PackedUnits(GpuContext context) {
        this.context = context;
    }

    boolean takes(PackedWeights weights, Tensor x) {
        return x.dtype() == DType.F16 && x.rows() <= MOST_ROWS && (weights.bits() == 4 || weights.bits() == 8)
                && weights.groupSize() > 0 && weights.groupSize() % 32 == 0
                && Extent.isAligned(context, weights.qweight())
                && Extent.isAligned(context, x) && context.hasMatrixUnits();
    }

    /** Blocks that share the inputs; depends only on the layer. */
    long parts(PackedWeights weights) {
        long most = Math.ceilDiv(weights.inputs(), ALONG);
        return Math.clamp(Math.ceilDiv(BLOCKS, across(weights)), 1, most);
    }

    private long across(PackedWeights weights) {
        return Math.ceilDiv(weights.outputs(), WAVES_ACROSS * waveOutputs());
    }

    private boolean narrow() {
        return context.waveWidth() == 32;
    }

    private long waveOutputs() {
        return narrow() ? 32 : 64;
    }

    /** @param part elements of y from one part of the inputs to the next */
    void multiply(PackedWeights w, Tensor x, Tensor y, long parts, long part) {
        long tileRows = narrow() ? 8 : 16;
        long tiles = tiles(Math.ceilDiv(x.rows(), tileRows));
        context.kernel(SOURCE, "bits" + w.bits() + "_tiles" + tiles).launchGrid(across(w), parts,
                Math.ceilDiv(x.rows(), tiles * tileRows), WAVES * context.waveWidth(), 0, w.zeroOffset(), w.qweight(),
                w.qweight().stride(), w.qzeros(), w.qzeros().stride(), w.scales(), w.scales().stride(), w.groupOf(),
                w.inputs(), w.outputs(), w.groupSize(), x, x.stride(), x.rows(), null, y, y.stride(), part);
    }

    /** Of rows in a block: 1, 2, 4 or 8. */
    private long tiles(long needed) {
        long most = narrow() ? 8 : 4;
        return Math.min(most, needed <= 2 ? needed : needed <= 4 ? 4 : 8);
    }
}
