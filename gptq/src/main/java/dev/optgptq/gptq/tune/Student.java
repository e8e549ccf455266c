package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** The quantized model while its scales, and optionally its norms, are learned. */
final class Student implements Learner, AutoCloseable {

    /** Relative to the scales. */
    private static final double SCALE_RATE = 0.001;
    /** Relative to the norms' weights. */
    private static final double NORM_RATE = 0.001;

    private final Transformer model;
    private final List<PackedBlock> blocks;
    private final TensorArena arena;
    private final List<List<StudentLinear>> linears = new ArrayList<>();
    /** By their names on disk, in the model's order; none if they are not learned. */
    private final SequencedMap<String, LearnedTensor> norms = new LinkedHashMap<>();

    /** @param blocks all of the model's; must stay valid */
    Student(Transformer model, List<PackedBlock> blocks, boolean learnsNorms) {
        this.model = model;
        this.blocks = blocks;
        this.arena = model.device().arena();
        try {
            for (PackedBlock block : blocks) {
                linears.add(block.packed().stream()
                        .map(packed -> new StudentLinear(model.device(), arena, packed)).toList());
            }
            if (learnsNorms) {
                learnNorms();
            }
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private void learnNorms() {
        try (TensorArena scratch = model.device().arena()) {
            Map<String, Tensor> stored = model.loadNorms(scratch);
            stored.forEach((name, values) -> {
                String weight = name.substring(0, name.lastIndexOf('.')) + ".weight";
                norms.put(name, LearnedTensor.ofNorm(model.device(), arena, values,
                        Objects.requireNonNull(stored.get(weight), weight)));
            });
            model.device().synchronize();
        }
    }

    boolean learnsNorms() {
        return !norms.isEmpty();
    }

    /**
     * The student's current weights; parameters that are not learned are the original's.
     *
     * @param stored whether to round them as stored
     */
    @Override
    public GradientStream.Blocks weights(boolean stored) {
        return new GradientStream.Blocks() {
            @Override
            public BlockWeights load(int block, TensorArena owner) {
                return Student.this.load(block, owner, stored);
            }

            @Override
            public Head head(Head own, TensorArena owner) {
                return learnsNorms() ? Student.this.head(own, owner, stored) : own;
            }
        };
    }

    private Head head(Head own, TensorArena owner, boolean stored) {
        Head head = model.withOwnNorm(own, owner);
        write(model.parameters().norms(head), stored);
        return head;
    }

    private void write(Map<String, Tensor> targets, boolean stored) {
        targets.forEach((name, target) -> norm(name).write(target, stored));
    }

    private LearnedTensor norm(String name) {
        return Objects.requireNonNull(norms.get(name), name);
    }

    private BlockWeights load(int block, TensorArena owner, boolean stored) {
        BlockWeights weights = model.loadBlock(block, owner);
        List<LinearSpec> specs = blocks.get(block).linears();
        for (int i = 0; i < specs.size(); i++) {
            linears.get(block).get(i).write(weights.weight(specs.get(i)), stored);
        }
        if (learnsNorms()) {
            write(model.parameters().norms(weights), stored);
        }
        return weights;
    }

    /** Tensors that sum the gradients of a block's learned parameters; the arena owns them. */
    @Override
    public BlockWeights zeroGradients(BlockWeights block, TensorArena owner) {
        Set<ParameterKind> kinds = learnsNorms()
                ? EnumSet.of(ParameterKind.LINEAR, ParameterKind.NORM)
                : EnumSet.of(ParameterKind.LINEAR);
        return model.backward().zeroGradients(block, owner, kinds);
    }

    /** Tensors that sum the gradients of the final norm, if it is learned; the head's matrix is not. */
    @Override
    public @Nullable Head zeroGradients(Head head, TensorArena owner) {
        return learnsNorms() ? model.backward().zeroGradients(head, owner, EnumSet.of(ParameterKind.NORM)) : null;
    }

    /** Adds a block's gradients. */
    @Override
    public void add(BlockWeights gradients) {
        List<LinearSpec> specs = blocks.get(gradients.index()).linears();
        for (int i = 0; i < specs.size(); i++) {
            linears.get(gradients.index()).get(i).add(gradients.weight(specs.get(i)));
        }
        if (learnsNorms()) {
            model.parameters().norms(gradients).forEach((name, sums) -> norm(name).add(sums));
        }
    }

    /** Adds those of the final norm. */
    @Override
    public void add(Head gradients) {
        model.parameters().norms(gradients).forEach((name, sums) -> norm(name).add(sums));
    }

    @Override
    public boolean step(Schedule schedule, int step, double factor) {
        step(schedule.adam(step, factor * SCALE_RATE, 1), schedule.adam(step, factor * NORM_RATE, 1));
        return true;
    }

    /** Takes one optimizer step for all scales and norms. */
    void step(AdamStep ofScales, AdamStep ofNorms) {
        each(linear -> linear.step(ofScales));
        norms.values().forEach(norm -> norm.step(ofNorms));
    }

    /** Restores the state kept last. */
    @Override
    public void revert() {
        each(StudentLinear::revert);
        norms.values().forEach(LearnedTensor::revert);
    }

    /** Keeps the current state. */
    @Override
    public void keep() {
        each(StudentLinear::keep);
        norms.values().forEach(LearnedTensor::keep);
    }

    private void each(Consumer<StudentLinear> action) {
        linears.forEach(block -> block.forEach(action));
    }

    /** Passes on the state kept last. */
    void kept(TunedSink sink) {
        for (int block = 0; block < blocks.size(); block++) {
            for (int i = 0; i < linears.get(block).size(); i++) {
                PackedLinear packed = blocks.get(block).packed().get(i);
                try (Arena host = Arena.ofShared()) {
                    MemorySegment scales = host.allocate(packed.scales().byteSize(), Long.BYTES);
                    linears.get(block).get(i).download(scales);
                    sink.scales(blocks.get(block).linears().get(i), scales);
                }
            }
        }
        norms.forEach((name, norm) -> {
            try (Arena host = Arena.ofShared()) {
                MemorySegment values = host.allocate(norm.storedBytes(), Long.BYTES);
                norm.download(values);
                sink.norm(name, values);
            }
        });
    }

    @Override
    public void close() {
        arena.close();
    }
}
