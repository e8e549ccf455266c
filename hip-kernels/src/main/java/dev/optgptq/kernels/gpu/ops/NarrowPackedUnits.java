package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.QuantOps.PackedProduct;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Packed weights times rows of F16 on the matrix units with waves of 32: packed_few.hip and packed_many.hip. */
final class NarrowPackedUnits {

    private static final int WAVE = 32;
    private static final int TILE_ROWS = 8;
    /** Of packed_few.hip: rows at most, outputs of a block, and its waves for one tile of rows and for two. */
    private static final long FEW_ROWS = 2 * TILE_ROWS;
    private static final long FEW_OUTPUTS = 32;
    private static final int WAVES_ONE = 16;
    private static final int WAVES_TWO = 8;
    /** Linears of one launch. */
    private static final int TOGETHER = 3;
    /** Inputs of a group for the kernels called wide. */
    private static final int WIDE = 128;
    /** Of packed_many.hip: outputs and waves of a block, and inputs that it takes at a time. */
    private static final long MANY_OUTPUTS = 128;
    private static final int MANY_WAVES = 8;
    private static final long MANY_INPUTS = 128;
    /** Blocks that fill a large GPU. */
    private static final long BLOCKS = 256;
    /** Scales of four outputs are read at once. */
    private static final long SCALES = 4;

    private final GpuContext context;
    private final PackedUnits units;

    NarrowPackedUnits(GpuContext context, PackedUnits units) {
        this.context = context;
        this.units = units;
    }

    boolean takesFew(PackedWeights weights, Tensor x) {
        return x.rows() <= FEW_ROWS && takesMany(weights, x);
    }

    boolean takesMany(PackedWeights weights, Tensor x) {
        return context.waveWidth() == WAVE && units.takes(weights, x) && weights.scales().stride() % SCALES == 0
                && context.address(weights.scales()) % (SCALES * weights.scales().dtype().bytes()) == 0;
    }

    /** Whether one launch can compute several linears: a kernel has one width of codes and one size of groups. */
    boolean takesTogether(List<PackedProduct> products, Tensor x) {
        PackedWeights first = products.getFirst().weights();
        return products.size() <= TOGETHER && products.stream().map(PackedProduct::weights)
                .allMatch(each -> takesFew(each, x) && each.bits() == first.bits()
                        && each.groupSize() == first.groupSize());
    }

    /** Up to three linears of the same inputs. */
    void few(List<PackedProduct> products, Tensor x, float beta) {
        PackedWeights first = products.getFirst().weights();
        int tiles = x.rows() <= TILE_ROWS ? 1 : 2;
        String name = (first.groupSize() % WIDE == 0 ? "wide" : "bits") + first.bits() + "_tiles" + tiles;
        List<@Nullable Object> arguments = new ArrayList<>(
                Arrays.asList(first.groupSize(), x, x.stride(), (int) x.rows(), first.inputs(), beta));
        long blocks = 0;
        for (PackedProduct each : products) {
            PackedWeights w = each.weights();
            blocks += Math.ceilDiv(w.outputs(), FEW_OUTPUTS);
            arguments.addAll(Arrays.asList(w.zeroOffset(), w.qweight(), w.qweight().stride(), w.qzeros(),
                    w.qzeros().stride(), w.scales(), w.scales().stride(), w.outputs(), each.bias(), each.y(),
                    each.y().stride()));
        }
        for (int absent = products.size(); absent < TOGETHER; absent++) {
            arguments.addAll(Arrays.asList(0, null, 0L, null, 0L, null, 0L, 0L, null, null, 0L));
        }
        context.kernel("packed_few", name).launch(blocks, (tiles == 1 ? WAVES_ONE : WAVES_TWO) * WAVE, 0,
                arguments.toArray());
    }

    /** Blocks that share the inputs for many rows; depends only on the layer. */
    long parts(PackedWeights weights) {
        long across = Math.ceilDiv(weights.outputs(), MANY_OUTPUTS);
        return Math.clamp(Math.ceilDiv(BLOCKS, across), 1, Math.ceilDiv(weights.inputs(), MANY_INPUTS));
    }

    /** @param part elements of y from one part of the inputs to the next */
    void many(PackedWeights w, Tensor x, Tensor y, long parts, long part) {
        int tiles = x.rows() <= 4 * TILE_ROWS ? 4 : 8;
        context.kernel("packed_many", "bits" + w.bits() + "_tiles" + tiles).launchGrid(
                Math.ceilDiv(w.outputs(), MANY_OUTPUTS), parts, Math.ceilDiv(x.rows(), tiles * TILE_ROWS),
                MANY_WAVES * WAVE, 0, w.zeroOffset(), w.qweight(), w.qweight().stride(), w.qzeros(),
                w.qzeros().stride(), w.scales(), w.scales().stride(), w.groupOf(), w.inputs(), w.outputs(),
                w.groupSize(), x, x.stride(), (int) x.rows(), y, part);
    }
}
