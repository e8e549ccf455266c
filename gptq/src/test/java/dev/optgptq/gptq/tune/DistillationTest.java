package dev.optgptq.gptq.tune;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A tiny rounded model that learns from the original, where some steps meet gradients that are not finite. */
class DistillationTest {

    private static final int STEPS = 8;
    private static final int[] HELD_OUT = {8};

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private final Device device = Devices.open("cpu", 1);
    @SuppressWarnings("NullAway.Init") // before each test
    private TinyTeaching teaching;
    @SuppressWarnings("NullAway.Init") // before each test
    private Student student;
    private final List<String> heard = new ArrayList<>();

    @BeforeEach
    void open() {
        teaching = new TinyTeaching(device, TinyModel.LLAMA, 1.02f, folder.resolve("model"));
        student = new Student(teaching.model, teaching.blocks, false);
    }

    @AfterEach
    void close() {
        student.close();
        teaching.close();
        device.close();
    }

    @Test
    void a_step_that_is_not_finite_goes_back_to_the_best_and_on_with_half_the_rates() {
        Failing learner = new Failing(student, Set.of(5));

        Distillation.State end = learn(learner);

        assertEquals(List.of("looked 2", "looked 4", "reverted 6", "looked 6", "looked 8"), heard);
        assertEquals(List.of(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5), learner.factors);
        assertEquals(1, end.reverts());
        assertTrue(end.best() < end.before(), end.toString());
        assertEquals(end.best(), divergenceOfBest(), 0);
    }

    @Test
    void a_model_that_stays_degenerate_ends_with_an_error_that_says_so() {
        assertUserError(UserError.Code.NUMERIC, () -> learn(new Failing(student, Set.of(0, 1, 2, 3, 4, 5, 6, 7))),
                "not finite 6 times, with ever lower rates");
    }

    @Test
    void a_trial_leaves_everything_as_it_was() {
        double before = teaching.distillation().divergence(student, HELD_OUT);

        double tried = probe(student);

        assertTrue(tried < before, before + " -> " + tried);
        assertEquals(before, teaching.distillation().divergence(student, HELD_OUT), 1e-4 * before);
        assertEquals(Double.POSITIVE_INFINITY,
                probe(new Failing(student, Set.of(2))));
    }

    private double probe(Learner learner) {
        Distillation distillation = teaching.distillation();
        return distillation.probe(learner, schedule(), distillation.lessons(schedule()), 1, HELD_OUT);
    }

    private Distillation.State learn(Learner learner) {
        Distillation.Looks looks = new Distillation.Looks(HELD_OUT, 2, 5, true);
        Distillation distillation = teaching.distillation();
        return distillation.learn(learner, schedule(), distillation.lessons(schedule()), looks,
                distillation.begin(learner, looks),
                new Distillation.Watcher() {
                    @Override
                    public void looked(Distillation.State state, double divergence) {
                        heard.add("looked " + state.done());
                    }

                    @Override
                    public void reverted(Distillation.State state) {
                        heard.add("reverted " + state.done());
                    }
                });
    }

    private double divergenceOfBest() {
        student.revert();
        return teaching.distillation().divergence(student, HELD_OUT);
    }

    private static Schedule schedule() {
        return Schedule.of(STEPS, 8, 3);
    }

    /** A learner some of whose steps find gradients that are not finite. */
    private static final class Failing implements Learner {
        private final Learner learner;
        private final Set<Integer> failing;
        private final List<Double> factors = new ArrayList<>();

        private Failing(Learner learner, Set<Integer> failing) {
            this.learner = learner;
            this.failing = failing;
        }

        @Override
        public boolean step(Schedule schedule, int step, double factor) {
            factors.add(factor);
            return !failing.contains(step) && learner.step(schedule, step, factor);
        }

        @Override
        public GradientStream.Blocks weights(boolean stored) {
            return learner.weights(stored);
        }

        @Override
        public BlockWeights zeroGradients(BlockWeights block, TensorArena owner) {
            return learner.zeroGradients(block, owner);
        }

        @Override
        public @Nullable Head zeroGradients(Head head, TensorArena owner) {
            return learner.zeroGradients(head, owner);
        }

        @Override
        public void add(BlockWeights gradients) {
            learner.add(gradients);
        }

        @Override
        public void add(Head gradients) {
            learner.add(gradients);
        }

        @Override
        public void addEmbedded(Tensor ids, int sequenceLength, Tensor d) {
            learner.addEmbedded(ids, sequenceLength, d);
        }

        @Override
        public void keep() {
            learner.keep();
        }

        @Override
        public void revert() {
            learner.revert();
        }
    }
}
