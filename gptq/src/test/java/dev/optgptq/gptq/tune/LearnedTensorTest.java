package dev.optgptq.gptq.tune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A norm of four channels, stored in bfloat16, in which 1 is followed by 1 + 2^-7. */
class LearnedTensorTest {

    private static final float[] WEIGHT = {1, -2, 0, 0.5f};
    private static final float[] BIAS = {0, 0, 3, 1};
    private static final float STEP = 1 / 256f;
    /** Without momentum a first step is the rate, in units, against the gradient's sign. */
    private static final AdamStep DOWN = new AdamStep(STEP, 0, 0, 1e-20f, 1);

    private final Device device = Devices.open("cpu", 1);
    private final TensorArena arena = device.arena();
    private final Tensor weight = bf16(WEIGHT);

    @AfterEach
    void close() {
        arena.close();
        device.close();
    }

    @Test
    void a_weight_moves_by_shares_of_itself() {
        LearnedTensor norm = LearnedTensor.ofNorm(device, arena, weight, weight);
        norm.add(f32(1, 1, 1, -1));
        norm.step(DOWN);

        assertArrayEquals(new float[] {1 - STEP, -2 - 2 * STEP, 0, 0.5f + 0.5f * STEP}, values(norm, false), 1e-6f);
    }

    @Test
    void a_bias_moves_by_shares_of_its_channels_weight_so_that_one_of_0_moves_too() {
        LearnedTensor norm = LearnedTensor.ofNorm(device, arena, bf16(BIAS), weight);
        norm.add(f32(1, 1, 1, -1));
        norm.step(DOWN);

        assertArrayEquals(new float[] {-STEP, -2 * STEP, 3, 1 + 0.5f * STEP}, values(norm, false), 1e-6f);
    }

    @Test
    void gradients_of_several_batches_add_up_and_are_gone_behind_a_step() {
        LearnedTensor norm = LearnedTensor.ofNorm(device, arena, weight, weight);
        norm.add(f32(1, -3, 1, 2));
        norm.add(f32(-2, 4, 1, -4));
        norm.step(DOWN);
        float[] once = values(norm, false);

        norm.step(DOWN);

        assertArrayEquals(new float[] {1 + STEP, -2 - 2 * STEP, 0, 0.5f + 0.5f * STEP}, once, 1e-6f);
        assertArrayEquals(once, values(norm, false), "without a gradient a step moves nothing");
    }

    @Test
    void what_is_looked_at_is_what_a_file_would_hold() {
        LearnedTensor norm = LearnedTensor.ofNorm(device, arena, weight, weight);
        norm.add(f32(-1, -1, -1, -1));
        norm.step(new AdamStep(STEP / 4, 0, 0, 1e-20f, 1));

        assertArrayEquals(WEIGHT, values(norm, true), "less than half a step of the dtype");
        norm.add(f32(-1, -1, -1, -1));
        norm.step(new AdamStep(STEP, 0, 0, 1e-20f, 1));

        assertArrayEquals(new float[] {1 + 2 * STEP, -2 + 2 * STEP, 0, 0.5f + STEP}, values(norm, true));
    }

    @Test
    void what_is_kept_is_what_was_last_remembered_and_at_first_what_the_model_has() {
        LearnedTensor norm = LearnedTensor.ofNorm(device, arena, weight, weight);
        norm.add(f32(-1, -1, -1, -1));
        norm.step(new AdamStep(2 * STEP, 0, 0, 1e-20f, 1));
        assertArrayEquals(WEIGHT, kept(norm), "nothing was remembered");
        norm.keep();
        norm.step(DOWN);

        assertArrayEquals(new float[] {1 + 2 * STEP, -2 + 4 * STEP, 0, 0.5f + STEP}, kept(norm));
        assertArrayEquals(WEIGHT, floats(weight), "the model's own stays");
    }

    private float[] values(LearnedTensor norm, boolean stored) {
        Tensor target = arena.vector(DType.F32, WEIGHT.length);
        norm.write(target, stored);
        return download(target);
    }

    private float[] kept(LearnedTensor norm) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(norm.storedBytes(), Long.BYTES);
            norm.download(bytes);
            assertEquals(8, bytes.byteSize(), "four halves");
            float[] values = new float[WEIGHT.length];
            for (int i = 0; i < values.length; i++) {
                values[i] = Float.intBitsToFloat(bytes.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            }
            return values;
        }
    }

    private float[] floats(Tensor halves) {
        Tensor wide = arena.vector(DType.F32, halves.columns());
        device.neural().convert(halves, wide);
        return download(wide);
    }

    private float[] download(Tensor tensor) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, tensor.elements());
            device.download(tensor, bytes);
            return bytes.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    private Tensor f32(float... values) {
        Tensor tensor = arena.vector(DType.F32, values.length);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), tensor);
            device.synchronize();
        }
        return tensor;
    }

    private Tensor bf16(float... values) {
        Tensor tensor = arena.vector(DType.BF16, values.length);
        device.neural().convert(f32(values), tensor);
        return tensor;
    }
}
