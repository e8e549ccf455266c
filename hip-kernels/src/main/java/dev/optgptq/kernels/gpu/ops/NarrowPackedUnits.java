package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
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
    /** Inputs that a wave takes at a time; groups and inputs are whole runs for the kernels called wide. */
    private static final int RUN = 128;
    /** Of packed_many.hip: outputs and waves of a block, inputs that it takes at a time, and float32 that it hands on. */
    private static final long MANY_OUTPUTS = 128;
    private static final int MANY_WAVES = 8;
    private static final int MANY_STEP = 64;
    private static final long MANY_PART = MANY_OUTPUTS * TILE_ROWS;
    /** Blocks that fill a large GPU, and inputs that pay for a share. */
    private static final long BLOCKS = 256;
    private static final long SHARE_INPUTS = 512;
    /** As packed_many.hip counts those that share inputs; of one linear only as many as fill a GPU do. */
    private static final long MOST_BLOCKS = 4096;
    /** Scales of four outputs are read at once. */
    private static final long SCALES = 4;

    private final GpuContext context;
    private final PackedUnits units;

    NarrowPackedUnits(GpuContext context, PackedUnits units) {
        this.context = context;
        this.units = units;
    }

    boolean takes(PackedWeights weights, Tensor x) {
        return context.waveWidth() == WAVE && units.takes(weights, x) && weights.scales().stride() % SCALES == 0
                && context.address(weights.scales()) % (SCALES * weights.scales().dtype().bytes()) == 0;
    }

    /** Whether one launch can compute several linears: a kernel has one width of codes and one size of groups. */
    boolean takesTogether(List<PackedProduct> products, Tensor x) {
        PackedWeights first = products.getFirst().weights();
        return products.size() <= TOGETHER && products.stream().map(PackedProduct::weights)
                .allMatch(each -> takes(each, x) && each.bits() == first.bits()
                        && each.groupSize() == first.groupSize());
    }

    /** Up to three linears of the same inputs. */
    void multiply(List<PackedProduct> products, Tensor x, float beta) {
        if (x.rows() <= FEW_ROWS) {
            few(products, x, beta);
        } else {
            many(products, x, beta);
        }
    }

    private void few(List<PackedProduct> products, Tensor x, float beta) {
        PackedWeights first = products.getFirst().weights();
        int tiles = x.rows() <= TILE_ROWS ? 1 : 2;
        int shift = groupShift(first, RUN);
        String name = (shift >= 0 && first.inputs() % RUN == 0 ? "wide" : "bits") + first.bits() + "_tiles" + tiles;
        List<@Nullable Object> arguments = new ArrayList<>(
                Arrays.asList(first.groupSize(), shift, x, x.stride(), (int) x.rows(), first.inputs(), beta));
        long blocks = 0;
        for (PackedProduct each : products) {
            blocks += Math.ceilDiv(each.weights().outputs(), FEW_OUTPUTS);
            addLinear(arguments, each);
        }
        for (int absent = products.size(); absent < TOGETHER; absent++) {
            addAbsent(arguments);
        }
        context.kernel("packed_few", name).launch(blocks, (tiles == 1 ? WAVES_ONE : WAVES_TWO) * WAVE, 0,
                arguments.toArray());
    }

    private void many(List<PackedProduct> products, Tensor x, float beta) {
        PackedWeights first = products.getFirst().weights();
        int tiles = x.rows() <= 4 * TILE_ROWS ? 4 : 8;
        long down = Math.ceilDiv(x.rows(), tiles * TILE_ROWS);
        long blocks = products.stream().map(PackedProduct::weights).mapToLong(w -> across(w) * shares(w)).sum();
        if (products.size() > 1 && blocks * down > MOST_BLOCKS) {
            products.forEach(each -> many(List.of(each), x, beta));
            return;
        }
        try (TensorArena arena = context.arena()) {
            Tensor parts = products.stream().allMatch(each -> shares(each.weights()) == 1)
                    ? null
                    : arena.matrix(DType.F32, blocks * down * tiles, MANY_PART);
            List<@Nullable Object> arguments = new ArrayList<>(Arrays.asList(first.groupSize(),
                    groupShift(first, MANY_STEP), x, x.stride(), (int) x.rows(), first.inputs(), beta, parts));
            for (PackedProduct each : products) {
                addLinear(arguments, each);
                arguments.add((int) shares(each.weights()));
            }
            for (int absent = products.size(); absent < TOGETHER; absent++) {
                addAbsent(arguments);
                arguments.add(1);
            }
            context.kernel("packed_many", "bits" + first.bits() + "_tiles" + tiles).launchGrid(blocks, down, 1,
                    MANY_WAVES * WAVE, 0, arguments.toArray());
        }
    }

    private static void addLinear(List<@Nullable Object> arguments, PackedProduct product) {
        PackedWeights w = product.weights();
        arguments.addAll(Arrays.asList(w.zeroOffset(), w.qweight(), w.qweight().stride(), w.qzeros(),
                w.qzeros().stride(), w.scales(), w.scales().stride(), w.outputs(), product.bias(), product.y(),
                product.y().stride()));
    }

    private static void addAbsent(List<@Nullable Object> arguments) {
        arguments.addAll(Arrays.asList(0, null, 0L, null, 0L, null, 0L, 0L, null, null, 0L));
    }

    /** By how many bits a number of runs of inputs is shifted to a number of groups; -1 where it is no shift. */
    private static int groupShift(PackedWeights weights, int run) {
        int runs = weights.groupSize() / run;
        return weights.groupSize() % run == 0 && Integer.bitCount(runs) == 1 ? Integer.numberOfTrailingZeros(runs) : -1;
    }

    private static long across(PackedWeights weights) {
        return Math.ceilDiv(weights.outputs(), MANY_OUTPUTS);
    }

    /** Blocks that share the inputs for many rows; depends only on the layer. */
    private static long shares(PackedWeights weights) {
        return Math.clamp(Math.ceilDiv(BLOCKS, across(weights)), 1,
                Math.max(1, Math.ceilDiv(weights.inputs(), SHARE_INPUTS)));
    }
}
