package dev.optgptq.gptq.tune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Norms that are learned with the scales: RMS norms, layer norms without biases, and with them. */
class NormTuningTest {

    private static final int STEPS = 16;
    private static final int HELD_OUT = TinyTeaching.SEQUENCES - 1;
    private static final float STRETCH = 1.02f;
    /** Of the student's sequences; every gradient is the mean over them. */
    private static final int[] SOME = {0, 3, 5};
    /**
     * No momentum, and an epsilon beside which a gradient's size vanishes: the step is then unit times gradient times
     * LARGE, so that it shows the gradient and not only its sign.
     */
    private static final float LARGE = 16;
    private static final float EPSILON = 1e9f;
    private static final AdamStep STRAIGHT = new AdamStep(LARGE * EPSILON, 0, 0, EPSILON, 1);
    private static final AdamStep NONE = new AdamStep(0, 0, 0, EPSILON, 1);

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    static Stream<TinyModel> models() {
        return Stream.of(TinyModel.LLAMA, TinyModel.MPT, TinyModel.MPT_WITH_BIASES).map(TinyModel::withOwnHead);
    }

    @ParameterizedTest
    @MethodSource("models")
    void what_a_norm_learns_from_is_the_finite_difference_of_the_divergence(TinyModel tiny) {
        try (Device device = Devices.open("cpu", 2)) {
            assertGradients(device, tiny);
        }
    }

    @ParameterizedTest
    @MethodSource("models")
    void the_kernels_of_gpus_give_it_too(TinyModel tiny) {
        try (EmulatedGpu gpu = EmulatedGpu.open()) {
            assertGradients(gpu.device(), tiny);
        }
    }

    /** Along the gradient of each norm's weight and bias, the others being left alone. */
    private void assertGradients(Device device, TinyModel tiny) {
        try (TinyTeaching teaching = new TinyTeaching(device, tiny, STRETCH, folder.resolve("model"));
                Student student = new Student(teaching.model, teaching.blocks, true)) {
            Map<String, float[]> start = values(teaching, student);
            assertEquals(teaching.model.spec().normTensors().stream().map(NormSpec.Stored::tensor).toList(),
                    List.copyOf(start.keySet()));
            teaching.tuner(STEPS).differentiate(student, SOME);
            student.step(NONE, STRAIGHT);
            Map<String, float[]> moved = values(teaching, student);

            try (Student still = new Student(teaching.model, teaching.blocks, true)) {
                start.forEach((name, before) -> {
                    float[] unit = get(start, name.replace(".bias", ".weight"));
                    double[] gradient = new double[before.length];
                    double length = 0;
                    for (int i = 0; i < before.length; i++) {
                        gradient[i] = ((double) before[i] - get(moved, name)[i]) / Math.abs(unit[i]) / LARGE;
                        length += gradient[i] * gradient[i];
                    }
                    length = Math.sqrt(length);
                    double h = 0.02;
                    double difference = (teaching.divergence(
                            with(teaching, still, along(name, before, gradient, h / length)),
                            SOME)
                            - teaching.divergence(with(teaching, still, along(name, before, gradient, -h / length)),
                                    SOME))
                            / (2 * h);
                    assertTrue(length > 1e-5, name + " has a gradient: " + length);
                    assertEquals(length, difference, 0.02 * length, name);
                });
            }
        }
    }

    private static Map<String, float[]> along(String name, float[] values, double[] direction, double factor) {
        float[] moved = values.clone();
        for (int i = 0; i < moved.length; i++) {
            moved[i] += (float) (factor * direction[i]);
        }
        return Map.of(name, moved);
    }

    @ParameterizedTest
    @MethodSource("models")
    void norms_and_scales_come_closer_together_and_what_is_handed_out_diverges_as_the_outcome_says(TinyModel tiny) {
        try (Device device = Devices.open("cpu", 2);
                TinyTeaching teaching = new TinyTeaching(device, tiny, STRETCH, folder.resolve("model"));
                Student student = new Student(teaching.model, teaching.blocks, true)) {
            Map<String, float[]> start = values(teaching, student);

            StepOutcome outcome = teaching.tuner(STEPS).tune(student);

            assertEquals("tuned scales and norms", outcome.step());
            assertTrue(outcome.kept() && outcome.after() < outcome.before(), outcome::toString);
            Map<String, float[]> kept = kept(teaching, student);
            kept.forEach((name, values) -> assertFalse(Arrays.equals(get(start, name), values), name));
            try (Student scales = new Student(teaching.model, teaching.withKept(student), false)) {
                assertEquals(outcome.after(), teaching.divergence(with(teaching, scales, kept), HELD_OUT),
                        1e-9 * outcome.after());
            }
        }
    }

    static Stream<TinyModel> dtypes() {
        return Stream.of(DType.BF16, DType.F16, DType.F32).map(TinyModel.MPT_WITH_BIASES::withDtype);
    }

    @ParameterizedTest
    @MethodSource("dtypes")
    void where_nothing_helps_the_norms_are_the_sources_to_the_bit(TinyModel tiny) {
        try (Device device = Devices.open("cpu", 2);
                TinyTeaching teaching = new TinyTeaching(device, tiny, 1, folder.resolve("model"));
                Student student = new Student(teaching.model, teaching.blocks, true);
                TensorArena arena = device.arena()) {
            StepOutcome outcome = teaching.tunerTowardsItself(STEPS).tune(student);

            assertFalse(outcome.kept(), outcome::toString);
            Map<String, Tensor> source = teaching.model.loadNorms(arena);
            List<String> seen = new ArrayList<>();
            student.kept((TinyTeaching.Norms) (name, values) -> {
                assertEquals(-1, Objects.requireNonNull(source.get(name)).memory().mismatch(values), name);
                seen.add(name);
            });
            assertEquals(List.copyOf(source.keySet()), seen);
        }
    }

    @Test
    void the_gradient_of_the_heads_matrix_is_not_computed() {
        try (Device device = Devices.open("cpu", 2);
                TinyTeaching teaching = new TinyTeaching(device, TinyModel.LLAMA, 1, folder.resolve("model"));
                Student student = new Student(teaching.model, teaching.blocks, true);
                TensorArena arena = device.arena()) {
            Head head = teaching.model.loadHead(arena);
            long before = device.memoryInUse();

            student.zeroGradients(head, arena);

            assertEquals((long) Float.BYTES * TinyModel.HIDDEN, device.memoryInUse() - before);
        }
    }

    /** What the student computes with, unrounded. */
    private static Map<String, float[]> values(TinyTeaching teaching, Student student) {
        Map<String, float[]> values = new LinkedHashMap<>();
        GradientStream.Blocks weights = student.weights(false);
        try (TensorArena arena = teaching.device.arena()) {
            for (int block = 0; block < TinyModel.BLOCKS; block++) {
                teaching.model.parameters().norms(weights.load(block, arena))
                        .forEach((name, norm) -> values.put(name, teaching.floats(norm)));
            }
            teaching.model.parameters().norms(weights.head(teaching.model.loadHead(arena), arena))
                    .forEach((name, norm) -> values.put(name, teaching.floats(norm)));
        }
        return values;
    }

    private static Map<String, float[]> kept(TinyTeaching teaching, Student student) {
        Map<String, float[]> kept = new LinkedHashMap<>();
        DType stored = storedType(teaching);
        student.kept((TinyTeaching.Norms) (name, values) -> kept.put(name, decoded(values, stored)));
        return kept;
    }

    private static DType storedType(TinyTeaching teaching) {
        try (TensorArena arena = teaching.device.arena()) {
            return teaching.model.loadNorms(arena).firstEntry().getValue().dtype();
        }
    }

    private static float[] decoded(MemorySegment values, DType stored) {
        float[] decoded = new float[(int) (values.byteSize() / Short.BYTES)];
        for (int i = 0; i < decoded.length; i++) {
            short bits = values.getAtIndex(ValueLayout.JAVA_SHORT, i);
            decoded[i] = stored == DType.F16 ? Float.float16ToFloat(bits) : Float.intBitsToFloat(bits << 16);
        }
        return decoded;
    }

    /** A student's scales, unrounded or as stored alike, with other norms. */
    private static GradientStream.Blocks with(TinyTeaching teaching, Student student, Map<String, float[]> norms) {
        GradientStream.Blocks weights = student.weights(true);
        return new GradientStream.Blocks() {
            @Override
            public BlockWeights load(int block, TensorArena arena) {
                BlockWeights loaded = weights.load(block, arena);
                overwrite(teaching.model.parameters().norms(loaded));
                return loaded;
            }

            @Override
            public Head head(Head own, TensorArena arena) {
                Head head = teaching.model.withOwnNorm(own, arena);
                overwrite(teaching.model.parameters().norms(head));
                return head;
            }

            private void overwrite(Map<String, Tensor> targets) {
                targets.forEach((name, target) -> {
                    float[] values = norms.get(name);
                    if (values != null) {
                        teaching.upload(values, target);
                    }
                });
            }
        };
    }

    private static float[] get(Map<String, float[]> values, String name) {
        return Objects.requireNonNull(values.get(name), name);
    }
}
