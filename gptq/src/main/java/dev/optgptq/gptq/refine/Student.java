package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.TuningOps.AdamStep;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/** The quantized model while its scales are being learned. */
final class Student implements AutoCloseable {

    private final Transformer model;
    private final List<PackedBlock> blocks;
    private final TensorArena arena;
    private final List<List<StudentLinear>> linears = new ArrayList<>();

    /** @param blocks all of the model's; must stay valid */
    Student(Transformer model, List<PackedBlock> blocks) {
        this.model = model;
        this.blocks = blocks;
        this.arena = model.device().arena();
        try {
            for (PackedBlock block : blocks) {
                linears.add(block.packed().stream()
                        .map(packed -> new StudentLinear(model.device(), arena, packed)).toList());
            }
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /**
     * The weights of a block as the codes and scales have them; the rest is the original's.
     *
     * @param stored whether scales are rounded as the format would store them
     */
    BlockWeights load(int block, TensorArena owner, boolean stored) {
        BlockWeights weights = model.loadBlock(block, owner);
        List<LinearSpec> specs = blocks.get(block).linears();
        for (int i = 0; i < specs.size(); i++) {
            linears.get(block).get(i).write(weights.weight(specs.get(i)), stored);
        }
        return weights;
    }

    /** Adds a block's gradients. */
    void add(BlockWeights gradients) {
        List<LinearSpec> specs = blocks.get(gradients.index()).linears();
        for (int i = 0; i < specs.size(); i++) {
            linears.get(gradients.index()).get(i).add(gradients.weight(specs.get(i)));
        }
    }

    /** Moves all scales. */
    void step(AdamStep step) {
        each(linear -> linear.step(step));
    }

    /** Remembers the scales as they are now. */
    void keep() {
        each(StudentLinear::keep);
    }

    private void each(Consumer<StudentLinear> action) {
        linears.forEach(block -> block.forEach(action));
    }

    /** Hands out the scales that were kept last, F16 [G, out], valid during the call. */
    void kept(BiConsumer<LinearSpec, MemorySegment> sink) {
        for (int block = 0; block < blocks.size(); block++) {
            for (int i = 0; i < linears.get(block).size(); i++) {
                PackedLinear packed = blocks.get(block).packed().get(i);
                try (Arena host = Arena.ofShared()) {
                    MemorySegment scales = host.allocate(packed.scales().byteSize(), Long.BYTES);
                    linears.get(block).get(i).download(scales);
                    sink.accept(blocks.get(block).linears().get(i), scales);
                }
            }
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
