package dev.optgptq.gptq.tune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.testing.PackedLinears;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A tiny model rounded to 4 bits, on 9 sequences of 16 tokens, of which the last is held out; of it, scales alone are learned.
 * Its head is not tied: a random model with a tied one predicts each token to follow itself, and nothing moves it from that.
 */
class EndToEndTunerTest {

    private static final int STEPS = 16;
    private static final float STRETCH = 1.02f;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private final Device device = Devices.open("cpu", 1);

    @AfterEach
    void close() {
        device.close();
    }

    @Test
    void scales_that_were_stretched_come_back_towards_the_original_model() {
        try (TinyTeaching teaching = teaching(STRETCH); Student student = student(teaching, teaching.blocks)) {
            StepOutcome outcome = teaching.tuner(STEPS).tune(student);

            assertEquals("tuned scales", outcome.step());
            assertEquals(-1, outcome.block(), "of the whole model");
            assertTrue(outcome.kept(), outcome::toString);
            assertTrue(outcome.after() < 0.9 * outcome.before(), outcome::toString);
        }
    }

    @Test
    void the_scales_that_are_handed_out_diverge_as_the_outcome_says() {
        try (TinyTeaching teaching = teaching(STRETCH); Student student = student(teaching, teaching.blocks)) {
            StepOutcome outcome = teaching.tuner(STEPS).tune(student);

            try (Student kept = student(teaching, teaching.withKept(student))) {
                assertEquals(outcome.after(), teaching.tuner(1).tune(kept).before(), 1e-9 * outcome.after());
                assertTrue(outcome.after() > 1e-4, "there is something to compare");
            }
        }
    }

    @Test
    void where_nothing_helps_learning_ends_after_three_looks_and_the_scales_stay() {
        try (TinyTeaching teaching = teaching(1); Student student = student(teaching, teaching.blocks)) {
            StepOutcome outcome = teaching.tunerTowardsItself(STEPS).tune(student);

            assertFalse(outcome.kept(), outcome::toString);
            assertEquals(0, outcome.before(), 1e-9);
            assertEquals("6 of 16 steps", outcome.note());
            List<PackedBlock> kept = teaching.withKept(student);
            for (int block = 0; block < kept.size(); block++) {
                for (int i = 0; i < kept.get(block).packed().size(); i++) {
                    assertArrayEquals(PackedLinears.scales(teaching.blocks.get(block).packed().get(i)),
                            PackedLinears.scales(kept.get(block).packed().get(i)));
                }
            }
        }
    }

    private TinyTeaching teaching(float stretch) {
        return new TinyTeaching(device, TinyModel.LLAMA, stretch, folder.resolve("model"));
    }

    private static Student student(TinyTeaching teaching, List<PackedBlock> blocks) {
        return new Student(teaching.model, blocks, false);
    }
}
