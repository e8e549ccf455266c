package dev.optgptq.gptq.tune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.tune.WeightStudent.Scope;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A tiny model, stretched, that learns what it was. */
class WeightStudentTest {

    private static final int[] HELD_OUT = {8};
    private static final int STEPS = 12;
    private static final double RATE = 2e-3;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private final Device device = Devices.open("cpu", 1);
    @SuppressWarnings("NullAway.Init") // before each test
    private TinyTeaching teaching;

    @BeforeEach
    void open() {
        open(TinyModel.LLAMA);
    }

    private void open(TinyModel tiny) {
        teaching = new TinyTeaching(device, tiny, 1, folder.resolve(tiny.family().toString()));
    }

    @AfterEach
    void close() {
        teaching.close();
        device.close();
    }

    /** The head of one is its own, of the other the table of the embedding. */
    @ParameterizedTest
    @CsvSource({"LLAMA, ALL", "LLAMA, ATTENTION", "MPT, ALL"})
    void with_products_in_bfloat16_it_learns_as_with_float32(TinyModel.Family family, Scope scope) {
        if (family == TinyModel.Family.MPT) {
            teaching.close();
            open(TinyModel.MPT);
        }
        Learned exact = learn(DType.F32, scope);
        Learned half = learn(DType.BF16, scope);

        assertTrue(exact.after < 0.5 * exact.before, exact::toString);
        assertEquals(exact.before, half.before, 0, "what is looked at is float32");
        assertEquals(exact.after, half.after, 0.1 * exact.after);
        assertNotEquals(exact.after, half.after, "products were rounded");
    }

    private record Learned(double before, double after) {}

    private Learned learn(DType products, Scope scope) {
        try (WeightStudent student = stretched(products, scope)) {
            Distillation distillation = teaching.distillation();
            double before = distillation.divergence(student, HELD_OUT);
            return new Learned(before,
                    distillation.probe(student, schedule(), distillation.lessons(schedule()), RATE, HELD_OUT));
        }
    }

    /** What computes is written again, and not only what is learned. */
    @ParameterizedTest
    @CsvSource({"F32", "BF16"})
    void a_restored_state_takes_the_same_step_again(DType products) {
        try (WeightStudent student = stretched(products, Scope.ATTENTION); TensorArena arena = device.arena()) {
            step(student, 0);
            Map<String, Tensor> saved = new LinkedHashMap<>();
            student.state().forEach((name, tensor) -> {
                Tensor copy = arena.matrix(tensor.dtype(), tensor.rows(), tensor.columns());
                device.matrix().copy(tensor, copy);
                saved.put(name, copy);
            });
            step(student, 1);
            Map<String, float[]> after = floats(student.state());
            student.revert();

            student.state().forEach((name, tensor) -> device.matrix().copy(Objects.requireNonNull(saved.get(name)),
                    tensor));
            student.restored();
            step(student, 1);

            floats(student.state()).forEach((name, values) -> assertArrayEquals(after.get(name), values, name));
        }
    }

    @Test
    void of_a_model_whose_attention_is_learned_nothing_else_has_gradients() {
        try (WeightStudent student = stretched(DType.F32, Scope.ATTENTION); TensorArena arena = device.arena()) {
            var gradients = student.zeroGradients(student.weights(false).load(0, arena), arena);
            assertEquals(4, gradients.linears().stream().filter(linear -> gradients.find(linear) != null).count());
            assertTrue(gradients.linears().stream()
                    .noneMatch(linear -> linear.site().ofMlp() && gradients.find(linear) != null));
        }
    }

    private WeightStudent stretched(DType products, Scope scope) {
        WeightStudent student = new WeightStudent(teaching.model, products, name -> DType.F32, scope, 0);
        student.state().forEach((name, tensor) -> {
            if (tensor.rows() > 1 && !name.contains("|") && (name.contains("attn") || name.contains("mlp"))) {
                device.neural().scale(tensor, 1.3f);
            }
            // A random model whose head is its table is sure of its predictions: of these it loses more.
            if (name.endsWith("wte.weight")) {
                device.neural().scale(tensor, 0.1f);
            }
        });
        student.restored();
        student.keep();
        return student;
    }

    private void step(WeightStudent student, int step) {
        Distillation distillation = teaching.distillation();
        distillation.differentiate(student, new int[] {step, step + 1});
        assertTrue(student.step(schedule(), step, RATE));
    }

    private static Schedule schedule() {
        return Schedule.of(STEPS, 8, 3);
    }

    private Map<String, float[]> floats(Map<String, Tensor> state) {
        Map<String, float[]> values = new LinkedHashMap<>();
        state.forEach((name, tensor) -> values.put(name, HostVectors.floats(device, tensor)));
        return values;
    }
}
