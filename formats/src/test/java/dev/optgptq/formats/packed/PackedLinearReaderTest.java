package dev.optgptq.formats.packed;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A sound layer of 64 inputs, 32 outputs and 2 groups, and one fault at a time. */
class PackedLinearReaderTest {

    private static final PackedLayout LAYOUT = new PackedLayout("m", 4, 32, 64, 32);
    private static final QuantizationConfig V1 = new QuantizationConfig(4, 32, true, false, CheckpointFormat.GPTQ);
    private static final QuantizationConfig V2 = new QuantizationConfig(4, 32, true, false, CheckpointFormat.GPTQ_V2);

    private final Map<String, TensorView> tensors = new HashMap<>();
    private final byte[] codes = new byte[64 * 32];
    private final int[] qweight = new int[8 * 32];
    private final int[] qzeros = new int[2 * 4];
    private final short[] scales = new short[2 * 32];
    private final int[] gIdx = IntStream.range(0, 64).map(i -> i / 32).toArray();

    @BeforeEach
    void soundLayer() {
        Random random = new Random(3);
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) random.nextInt(16);
        }
        Arrays.fill(scales, Floats.toF16(0.01f));
        Packing.packWeights(MemorySegment.ofArray(codes), 4, 64, 32, MemorySegment.ofArray(qweight));
        Arrays.fill(qzeros, 0x77777777);
        put(LAYOUT.qweight(), MemorySegment.ofArray(qweight));
        put(LAYOUT.qzeros(), MemorySegment.ofArray(qzeros));
        put(LAYOUT.scales(), MemorySegment.ofArray(scales));
        put(LAYOUT.gIdx(), MemorySegment.ofArray(gIdx));
    }

    @Test
    void a_sound_layer_is_read_with_its_sizes() {
        PackedLinear linear = read(V1);
        assertEquals(64, linear.inputs());
        assertEquals(32, linear.outputs());
        assertEquals(2, linear.groups());
        assertEquals(1, linear.zeroOffset());
        byte[] unpacked = new byte[codes.length];
        Packing.unpackWeights(linear.qweight(), 4, 64, 32, MemorySegment.ofArray(unpacked));
        assertArrayEquals(codes, unpacked);
    }

    @Test
    void one_group_for_all_inputs_has_one_row_of_scales() {
        Arrays.fill(gIdx, 0);
        put(new TensorSpec("m.qzeros", DType.I32, Shape.of(1, 4)), MemorySegment.ofArray(qzeros).asSlice(0, 16));
        put(new TensorSpec("m.scales", DType.F16, Shape.of(1, 32)), MemorySegment.ofArray(scales).asSlice(0, 64));
        assertEquals(1, read(new QuantizationConfig(4, -1, true, false, CheckpointFormat.GPTQ)).groups());
    }

    @Test
    void a_shuffled_g_idx_needs_desc_act() {
        gIdx[3] = 1;
        gIdx[40] = 0;
        assertEquals(64, read(new QuantizationConfig(4, 32, true, true, CheckpointFormat.GPTQ)).inputs());
        assertBad(V1, "m.g_idx", "expected group 0 at input 3", "desc_act is false", "found 1");
    }

    @Test
    void a_group_out_of_range_is_refused() {
        gIdx[63] = 2;
        assertBad(V1, "m.g_idx", "groups from 0 to 1, found 2 at input 63");
        gIdx[63] = -1;
        assertBad(new QuantizationConfig(4, 32, true, true, CheckpointFormat.GPTQ), "m.g_idx", "found -1 at input 63");
    }

    @Test
    void v2_zero_points_under_a_v1_label_are_refused_and_the_other_way_round() {
        assertBad(V2, "m.qzeros", "expected the word 88888888 of a symmetric gptq_v2", "found 77777777");
        Arrays.fill(qzeros, 0x88888888);
        assertBad(V1, "m.qzeros", "expected the word 77777777 of a symmetric gptq ", "found 88888888");
    }

    @Test
    void asymmetric_zero_points_may_be_anything() {
        qzeros[5] = 0x01234567;
        assertEquals(0, read(new QuantizationConfig(4, 32, false, false, CheckpointFormat.GPTQ_V2)).zeroOffset());
        assertBad(V1, "m.qzeros", "found 1234567");
    }

    @Test
    void a_scale_that_is_not_finite_is_named_with_its_place() {
        scales[35] = Floats.toF16(Float.NaN);
        assertUserError(Code.NUMERIC, () -> read(V1), "m.scales", "found NaN at group 1, output 3");
        scales[35] = Floats.toF16(Float.NEGATIVE_INFINITY);
        assertUserError(Code.NUMERIC, () -> read(V1), "found -Infinity");
    }

    @Test
    void a_bit_width_other_than_the_config_says_is_seen_in_the_shapes() {
        assertBad(new QuantizationConfig(8, 32, true, false, CheckpointFormat.GPTQ), "m.qweight",
                "expected I32 [16, 32]", "found I32 [8, 32]");
    }

    @Test
    void a_group_size_other_than_the_config_says_is_seen_in_the_shapes() {
        assertBad(new QuantizationConfig(4, 16, true, false, CheckpointFormat.GPTQ), "m.qzeros", "expected I32 [4, 4]",
                "found I32 [2, 4]");
    }

    @Test
    void a_group_size_that_does_not_divide_is_not_read() {
        assertUserError(Code.UNSUPPORTED_MODEL,
                () -> read(new QuantizationConfig(4, 48, true, false, CheckpointFormat.GPTQ)), "m", "group_size 48",
                "found 64 inputs");
    }

    @Test
    void a_missing_tensor_is_named() {
        for (String name : new String[] {"m.qzeros", "m.scales", "m.g_idx"}) {
            TensorView removed = tensors.remove(name);
            assertUserError(Code.BAD_MODEL, () -> read(V1), "'" + name + "'", "found no such tensor");
            tensors.put(name, Objects.requireNonNull(removed));
        }
    }

    @Test
    void a_plain_weight_beside_the_packed_one_is_refused() {
        put(new TensorSpec("m.weight", DType.F32, Shape.of(1)), MemorySegment.ofArray(new byte[4]));
        assertBad(V1, "m.weight", "found both");
    }

    @Test
    void other_dtypes_are_refused_and_scales_of_another_float_called_unsupported() {
        put(new TensorSpec("m.scales", DType.BF16, Shape.of(2, 32)), MemorySegment.ofArray(scales));
        assertUserError(Code.UNSUPPORTED_MODEL, () -> read(V1), "m.scales", "expected F16, found BF16");
        put(new TensorSpec("m.scales", DType.I16, Shape.of(2, 32)), MemorySegment.ofArray(scales));
        assertBad(V1, "m.scales", "found I16 [2, 32]");
    }

    @Test
    void a_tensor_of_another_rank_is_refused() {
        put(new TensorSpec("m.qweight", DType.I32, Shape.of(256)), MemorySegment.ofArray(qweight));
        assertBad(V1, "m.qweight", "expected rank 2, found shape [256]");
    }

    private PackedLinear read(QuantizationConfig config) {
        return PackedLinearReader.read("m", tensors, config);
    }

    private void assertBad(QuantizationConfig config, String... fragments) {
        assertUserError(Code.BAD_MODEL, () -> read(config), fragments);
        assertUserError(Code.BAD_MODEL, () -> read(config), "model.safetensors");
    }

    private void put(TensorSpec spec, MemorySegment data) {
        tensors.put(spec.name(),
                new TensorView(spec.name(), spec.dtype(), spec.shape(), data, Path.of("model.safetensors")));
    }
}
