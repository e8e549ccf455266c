package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Grid;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.TuningOps.AdamStep;
import dev.optgptq.kernels.TuningOps.LatentGrid;
import java.util.ArrayList;
import java.util.List;

/**
 * The quantized model while its scales are being learned: codes stay off the device, block by block, scales and what their
 * optimizer remembers stay on it.
 */
final class Student implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final Grid grid;
    private final List<BlockArchive> blocks;
    private final TensorArena arena;
    private final List<List<Scales>> scales = new ArrayList<>();

    /**
     * The scales of one linear, all F32 [G, out].
     *
     * @param unit what they were
     * @param best the best that were seen, as the format stores them
     */
    private record Scales(Tensor now, Tensor unit, Tensor best, Tensor gradient, Tensor first, Tensor second) {}

    Student(Transformer model, Grid grid, List<BlockArchive> blocks) {
        this.model = model;
        this.device = model.device();
        this.grid = grid;
        this.blocks = blocks;
        this.arena = device.arena();
        try {
            for (BlockArchive block : blocks) {
                List<Scales> ofBlock = new ArrayList<>();
                for (int i = 0; i < block.linears().size(); i++) {
                    ofBlock.add(start(block, i));
                }
                scales.add(ofBlock);
            }
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private Scales start(BlockArchive block, int linear) {
        try (TensorArena scratch = device.arena()) {
            Tensor given = block.load(linear, scratch).scales();
            Tensor[] copies = new Tensor[6];
            for (int i = 0; i < copies.length; i++) {
                copies[i] = arena.matrix(DType.F32, given.rows(), given.columns());
                if (i < 3) {
                    device.matrix().copy(given, copies[i]);
                } else {
                    device.matrix().fill(copies[i], 0);
                }
            }
            device.synchronize();
            return new Scales(copies[0], copies[1], copies[2], copies[3], copies[4], copies[5]);
        }
    }

    /** Which scales a block computes with. */
    enum Which {
        /** Those being learned, in float32. */
        LEARNING,
        /** The same as the format would store them. */
        STORED
    }

    /** The weights of a block as the codes and scales have them; the rest is the original's. */
    BlockWeights load(int block, TensorArena owner, Which which) {
        BlockWeights weights = model.loadBlock(block, owner);
        BlockArchive archive = blocks.get(block);
        for (int i = 0; i < archive.linears().size(); i++) {
            LinearSpec linear = archive.linears().get(i);
            try (TensorArena scratch = device.arena()) {
                QuantizedWeight weight = archive.load(i, scratch);
                Tensor used = scales.get(block).get(i).now;
                if (which == Which.STORED) {
                    StoredScales.round(device, grid, used, weight.scales());
                    used = weight.scales();
                }
                Tensor wt = scratch.matrix(DType.F32, linear.inputs(), linear.outputs());
                device.quant().dequantize(weight.codes(), used, weight.zeros(), weight.groupOf(), wt);
                device.matrix().transpose(wt, weights.weight(linear));
                device.synchronize();
            }
        }
        return weights;
    }

    /** Adds to the gradients of a block's scales what those of its weights say: dScale = sum over the group of dW (code - zero). */
    void add(BlockWeights gradients) {
        BlockArchive archive = blocks.get(gradients.index());
        for (int i = 0; i < archive.linears().size(); i++) {
            LinearSpec linear = archive.linears().get(i);
            Scales learned = scales.get(gradients.index()).get(i);
            try (TensorArena scratch = device.arena()) {
                QuantizedWeight weight = archive.load(i, scratch);
                // With scales of 1 a dequantized weight is code - zero, which is its own latent.
                device.matrix().fill(weight.scales(), 1);
                Tensor steps = scratch.matrix(DType.F32, linear.inputs(), linear.outputs());
                device.quant().dequantize(weight.codes(), weight.scales(), weight.zeros(), weight.groupOf(), steps);
                Tensor d = scratch.matrix(DType.F32, linear.inputs(), linear.outputs());
                device.matrix().transpose(gradients.weight(linear), d);
                device.tuning().latentGradient(
                        new LatentGrid(grid.maxCode(), weight.scales(), weight.zeros(), weight.groupOf()), steps, d,
                        learned.gradient);
                device.synchronize();
            }
        }
    }

    /** Moves all scales one step down their gradients, which then are 0 again. */
    void step(AdamStep step) {
        for (List<Scales> ofBlock : scales) {
            for (Scales learned : ofBlock) {
                device.tuning().adam(step, learned.gradient, learned.first, learned.second, learned.unit, learned.now);
                device.matrix().fill(learned.gradient, 0);
            }
        }
    }

    /** Remembers the scales as they are now. */
    void keep() {
        for (List<Scales> ofBlock : scales) {
            for (Scales learned : ofBlock) {
                StoredScales.round(device, grid, learned.now, learned.best);
            }
        }
    }

    /** A linear's codes with the scales that were kept last, at first those it began with; owned by the arena. */
    QuantizedWeight kept(int block, int linear, TensorArena owner) {
        QuantizedWeight weight = blocks.get(block).load(linear, owner);
        device.matrix().copy(scales.get(block).get(linear).best, weight.scales());
        return weight;
    }

    @Override
    public void close() {
        arena.close();
    }
}
