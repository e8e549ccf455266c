package dev.optgptq.gptq.tune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.gptq.testing.PackedLinears;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** 64 inputs in 2 groups, 32 outputs; the loss is half the squared distance of the weights from a target. */
class StudentLinearTest {

    private static final int INPUTS = 64;
    private static final int OUTPUTS = 32;
    private static final int GROUPS = 2;
    /**
     * No momentum, and an epsilon beside which a gradient's size vanishes: the step is then scale times gradient times
     * SMALL, so that it shows the gradient and not only its sign.
     */
    private static final float SMALL = 1e-3f;
    private static final float EPSILON = 1e9f;
    private static final AdamStep STRAIGHT = new AdamStep(SMALL * EPSILON, 0, 0, EPSILON, 1);

    private final Device device = Devices.open("cpu", 1);
    private final Arena host = Arena.ofShared();
    private final TensorArena arena = device.arena();

    @AfterEach
    void close() {
        arena.close();
        host.close();
        device.close();
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 8})
    void it_computes_with_what_its_codes_and_scales_say(int bits) {
        PackedLinear packed = packed(bits);

        assertArrayEquals(PackedLinears.weights(packed), weights(new StudentLinear(device, arena, packed), true));
    }

    /** The loss is quadratic in a scale, so that the central difference is its derivative. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 8})
    void its_gradient_is_the_finite_difference_of_the_loss(int bits) {
        PackedLinear packed = packed(bits);
        float[] target = target(bits);
        float[] scales = PackedLinears.scales(packed);
        StudentLinear student = new StudentLinear(device, arena, packed);

        student.add(uploaded(gradient(student, target)));
        student.step(STRAIGHT);

        float[] moved = movedScales(packed, weights(student, false));
        float h = 1 / 128f;
        for (int at : new int[] {0, 5, OUTPUTS - 1, OUTPUTS, 2 * OUTPUTS - 7}) {
            double difference = (loss(packed, scales, at, h, target) - loss(packed, scales, at, -h, target)) / (2 * h);
            double found = (scales[at] - moved[at]) / (scales[at] * SMALL);
            assertEquals(difference, found, 2e-3 * Math.max(1, Math.abs(difference)), bits + " bits, scale " + at);
        }
    }

    @Test
    void gradients_of_several_batches_add_up_and_are_gone_behind_a_step() {
        PackedLinear packed = packed(4);
        float[] target = target(4);
        StudentLinear once = new StudentLinear(device, arena, packed);
        StudentLinear twice = new StudentLinear(device, arena, packed);
        float[] whole = gradient(once, target);
        float[] half = whole.clone();
        for (int i = 0; i < half.length; i++) {
            half[i] /= 2;
        }

        once.add(uploaded(whole));
        once.step(STRAIGHT);
        twice.add(uploaded(half));
        twice.add(uploaded(half));
        twice.step(STRAIGHT);
        float[] behindOne = weights(twice, false);
        twice.step(STRAIGHT);

        assertArrayEquals(weights(once, false), behindOne, 1e-6f);
        assertArrayEquals(behindOne, weights(twice, false), "without a gradient a step moves nothing");
    }

    @Test
    void stored_weights_are_those_of_scales_that_a_file_holds() {
        PackedLinear packed = packed(4);
        StudentLinear student = new StudentLinear(device, arena, packed);
        student.add(uploaded(gradient(student, target(4))));
        student.step(STRAIGHT);
        student.keep();

        float[] found = weights(student, true);

        float[] kept = PackedLinears.floats(kept(student));
        assertArrayEquals(PackedLinears.weights(PackedLinears.withScales(host, packed, kept)), found);
    }

    @Test
    void what_is_kept_is_what_was_last_remembered_and_at_first_what_it_began_with() {
        PackedLinear packed = packed(4);
        StudentLinear student = new StudentLinear(device, arena, packed);
        assertArrayEquals(PackedLinears.scales(packed), PackedLinears.floats(kept(student)));

        student.add(uploaded(gradient(student, target(4))));
        student.step(STRAIGHT);
        assertArrayEquals(PackedLinears.scales(packed), PackedLinears.floats(kept(student)), "nothing was remembered");
        student.keep();

        assertNotEquals(PackedLinears.scales(packed)[3], PackedLinears.floats(kept(student))[3]);
    }

    private PackedLinear packed(int bits) {
        return PackedLinears.random(host, 1, bits, INPUTS, OUTPUTS, GROUPS);
    }

    private static float[] target(int bits) {
        Random random = new Random(2);
        float[] target = new float[INPUTS * OUTPUTS];
        for (int i = 0; i < target.length; i++) {
            target[i] = (float) random.nextGaussian() * (1 << bits) / 50;
        }
        return target;
    }

    /** Of the loss for the weights. */
    private float[] gradient(StudentLinear student, float[] target) {
        float[] gradient = weights(student, false);
        for (int i = 0; i < gradient.length; i++) {
            gradient[i] -= target[i];
        }
        return gradient;
    }

    /** With one scale moved by h. */
    private double loss(PackedLinear packed, float[] scales, int at, float h, float[] target) {
        float[] moved = scales.clone();
        moved[at] += h;
        PackedLinear other = PackedLinears.withScales(host, packed, moved);
        float[] found = weights(new StudentLinear(device, arena, other), true);
        double sum = 0;
        for (int i = 0; i < found.length; i++) {
            sum += 0.5 * Math.pow((double) found[i] - target[i], 2);
        }
        return sum;
    }

    /** From the weight of each group and output that lies furthest from its zero point. */
    private static float[] movedScales(PackedLinear packed, float[] weights) {
        int[] steps = PackedLinears.steps(packed);
        float[] moved = new float[GROUPS * OUTPUTS];
        int[] furthest = new int[GROUPS * OUTPUTS];
        for (int i = 0; i < steps.length; i++) {
            int at = PackedLinears.group(packed, i % INPUTS) * OUTPUTS + i / INPUTS;
            if (Math.abs(steps[i]) > Math.abs(furthest[at])) {
                furthest[at] = steps[i];
                moved[at] = weights[i] / steps[i];
            }
        }
        return moved;
    }

    private float[] weights(StudentLinear student, boolean stored) {
        try (TensorArena scratch = device.arena(); Arena bytes = Arena.ofShared()) {
            Tensor weight = scratch.matrix(DType.F32, OUTPUTS, INPUTS);
            student.write(weight, stored);
            MemorySegment found = bytes.allocate(ValueLayout.JAVA_FLOAT, weight.elements());
            device.download(weight, found);
            return found.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    private Tensor uploaded(float[] dWeight) {
        Tensor tensor = arena.matrix(DType.F32, OUTPUTS, INPUTS);
        device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, dWeight), tensor);
        device.synchronize();
        return tensor;
    }

    private MemorySegment kept(StudentLinear student) {
        MemorySegment scales = host.allocate(2L * GROUPS * OUTPUTS, 64);
        student.download(scales);
        return scales;
    }
}
