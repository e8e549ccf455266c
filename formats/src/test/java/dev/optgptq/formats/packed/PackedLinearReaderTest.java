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
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

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
        for (String name : new String[] {"m.qzeros", "m.scales"}) {
            TensorView removed = tensors.remove(name);
            assertUserError(Code.BAD_MODEL, () -> read(V1), "'" + name + "'", "found no such tensor");
            tensors.put(name, Objects.requireNonNull(removed));
        }
    }

    @Test
    void without_g_idx_groups_follow_each_other_where_desc_act_is_false() {
        tensors.remove("m.g_idx");
        PackedLinear linear = read(V1);
        assertEquals(64, linear.inputs());
        assertArrayEquals(gIdx, linear.gIdx().toArray(ValueLayout.JAVA_INT));
        assertUserError(Code.BAD_MODEL, () -> read(new QuantizationConfig(4, 32, true, true, CheckpointFormat.GPTQ)),
                "'m.g_idx'", "desc_act is true or not given");
    }

    /** The buffer's first content: AutoGPTQ before 0.2 never filled it. */
    @Test
    void a_g_idx_of_zeros_means_groups_that_follow_each_other_where_desc_act_is_false() {
        int[] sequential = gIdx.clone();
        Arrays.fill(gIdx, 0);
        assertArrayEquals(sequential, read(V1).gIdx().toArray(ValueLayout.JAVA_INT));
        assertBad(new QuantizationConfig(4, 32, true, true, CheckpointFormat.GPTQ), "m.g_idx",
                "every input in group 0");
    }

    @Test
    void a_plain_weight_beside_the_packed_one_is_refused() {
        put(new TensorSpec("m.weight", DType.F32, Shape.of(1)), MemorySegment.ofArray(new byte[4]));
        assertBad(V1, "m.weight", "found both");
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "F32", "F64"})
    void scales_of_another_float_are_rounded_to_float16(DType dtype) {
        putScales(dtype, 0.0123);
        short expected = Floats.toF16(dtype == DType.BF16 ? Floats.fromBF16(Floats.toBF16(0.0123f)) : 0.0123f);
        short[] read = read(V1).scales().toArray(ValueLayout.JAVA_SHORT);
        assertEquals(64, read.length);
        assertEquals(expected, read[63]);
    }

    @ParameterizedTest
    @ValueSource(doubles = {1e-6, 1e-9, 70_000, -1e38})
    void a_scale_that_float16_cannot_hold_is_named_with_its_place(double scale) {
        putScales(DType.F32, scale);
        assertUserError(Code.UNSUPPORTED_MODEL, () -> read(V1), "m.scales", "expected scales that float16 holds",
                "at group 0, output 0 in F32");
    }

    @Test
    void scales_that_are_no_floats_are_refused() {
        put(new TensorSpec("m.scales", DType.I16, Shape.of(2, 32)), MemorySegment.ofArray(scales));
        assertBad(V1, "m.scales", "found I16 [2, 32]");
    }

    private void putScales(DType dtype, double value) {
        MemorySegment data = MemorySegment.ofArray(new byte[64 * dtype.bytes()]);
        for (int i = 0; i < 64; i++) {
            if (dtype == DType.BF16) {
                data.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i, Floats.toBF16((float) value));
            } else if (dtype == DType.F32) {
                data.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i, (float) value);
            } else {
                data.set(ValueLayout.JAVA_DOUBLE_UNALIGNED, 8L * i, value);
            }
        }
        put(new TensorSpec("m.scales", dtype, Shape.of(2, 32)), data);
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
