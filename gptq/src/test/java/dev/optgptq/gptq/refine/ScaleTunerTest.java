package dev.optgptq.gptq.refine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.gradient.GradientStream.Limits;
import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.gptq.testing.PackedLinears;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A tiny model rounded to 4 bits, on 9 sequences of 16 tokens, of which the last is held out. Its head is not tied: a random
 * model with a tied one predicts each token to follow itself, and nothing moves it from that.
 */
class ScaleTunerTest {

    private static final int GROUP_SIZE = 32;
    private static final int STEPS = 16;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private final Arena host = Arena.ofShared();
    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyBlock tiny;

    @BeforeEach
    void aModel() {
        tiny = new TinyBlock(TinyModel.LLAMA, folder.resolve("model"));
    }

    @AfterEach
    void close() {
        tiny.close();
        host.close();
    }

    @Test
    void scales_that_were_stretched_come_back_towards_the_original_model() {
        try (ActivationStore teacher = outputs(this::original);
                Student student = new Student(tiny.model, stretched(1.02f))) {
            StepOutcome outcome = tune(student, teacher);

            assertEquals("tuned scales", outcome.step());
            assertEquals(-1, outcome.block(), "of the whole model");
            assertTrue(outcome.kept(), outcome::toString);
            assertTrue(outcome.after() < 0.9 * outcome.before(), outcome::toString);
        }
    }

    @Test
    void the_scales_that_are_handed_out_diverge_as_the_outcome_says() {
        List<PackedBlock> start = stretched(1.02f);
        try (ActivationStore teacher = outputs(this::original); Student student = new Student(tiny.model, start)) {
            StepOutcome outcome = tune(student, teacher);

            try (Student kept = new Student(tiny.model, withKept(start, student))) {
                assertEquals(outcome.after(), tuner(teacher, 1).tune(kept).before(), 1e-9 * outcome.after());
                assertTrue(outcome.after() > 1e-4, "there is something to compare");
            }
        }
    }

    /** The teacher is the quantized model itself: nothing can come closer. */
    @Test
    void where_nothing_helps_learning_ends_after_three_looks_and_the_scales_stay() {
        List<PackedBlock> start = stretched(1);
        try (ActivationStore teacher = outputs(quantized(start)); Student student = new Student(tiny.model, start)) {
            StepOutcome outcome = tune(student, teacher);

            assertFalse(outcome.kept(), outcome::toString);
            assertEquals(0, outcome.before(), 1e-9);
            assertEquals("6 of 16 steps", outcome.note());
            List<PackedBlock> kept = withKept(start, student);
            for (int block = 0; block < start.size(); block++) {
                for (int i = 0; i < start.get(block).packed().size(); i++) {
                    assertArrayEquals(PackedLinears.scales(start.get(block).packed().get(i)),
                            PackedLinears.scales(kept.get(block).packed().get(i)));
                }
            }
        }
    }

    private StepOutcome tune(Student student, ActivationStore teacher) {
        return tuner(teacher, STEPS).tune(student);
    }

    private ScaleTuner tuner(ActivationStore teacher, int steps) {
        return new ScaleTuner(tiny.model, tiny.text, teacher, Schedule.of(steps, TinyBlock.SEQUENCES - 1, 3),
                Limits.DEFAULT, TinyBlock.SILENT);
    }

    /** Rounded to nearest, and all scales times a factor. */
    private List<PackedBlock> stretched(float factor) {
        List<PackedBlock> blocks = new ArrayList<>();
        for (int index = 0; index < TinyModel.BLOCKS; index++) {
            try (TensorArena arena = tiny.device.arena()) {
                BlockWeights block = tiny.model.loadBlock(index, arena);
                blocks.add(new PackedBlock(block.linears(), block.linears().stream().map(linear -> {
                    PackedLinear nearest = PackedLinears.nearest(host, tiny.floats(block.weight(linear)), 4,
                            linear.inputs(), linear.outputs(), GROUP_SIZE);
                    float[] scales = PackedLinears.scales(nearest);
                    for (int i = 0; i < scales.length; i++) {
                        scales[i] *= factor;
                    }
                    return PackedLinears.withScales(host, nearest, scales);
                }).toList()));
            }
        }
        return blocks;
    }

    private List<PackedBlock> withKept(List<PackedBlock> blocks, Student student) {
        List<float[]> scales = new ArrayList<>();
        student.kept((linear, kept) -> scales.add(PackedLinears.floats(kept)));
        List<PackedBlock> result = new ArrayList<>();
        int at = 0;
        for (PackedBlock block : blocks) {
            List<PackedLinear> packed = new ArrayList<>();
            for (PackedLinear linear : block.packed()) {
                packed.add(PackedLinears.withScales(host, linear, scales.get(at++)));
            }
            result.add(new PackedBlock(block.linears(), packed));
        }
        return result;
    }

    private BlockWeights original(int index) {
        return tiny.model.loadBlock(index, tiny.arena());
    }

    private IntFunction<BlockWeights> quantized(List<PackedBlock> blocks) {
        return index -> {
            BlockWeights weights = original(index);
            for (int i = 0; i < weights.linears().size(); i++) {
                LinearSpec linear = weights.linears().get(i);
                tiny.upload(PackedLinears.weights(blocks.get(index).packed().get(i)), weights.weight(linear));
            }
            return weights;
        };
    }

    /** What the last block puts out for all sequences. */
    private ActivationStore outputs(IntFunction<BlockWeights> blocks) {
        ActivationStore store = new ActivationStore(tiny.text.tokens(), TinyModel.HIDDEN, Long.MAX_VALUE);
        try (TensorArena arena = tiny.device.arena()) {
            int rows = Math.toIntExact(tiny.text.tokens());
            Tensor x = arena.matrix(DType.F32, rows, TinyModel.HIDDEN);
            Tensor ids = arena.vector(DType.I32, rows);
            tiny.device.upload(host.allocateFrom(ValueLayout.JAVA_INT, tiny.text.ids()), ids);
            tiny.model.embed(ids, x);
            Transformer.Workspace workspace = tiny.model.workspace(arena, rows, TinyBlock.LENGTH);
            for (int index = 0; index < TinyModel.BLOCKS; index++) {
                tiny.model.forward(blocks.apply(index), x, workspace, InputTap.NONE);
            }
            store.write(tiny.device, 0, x);
        }
        return store;
    }
}
