package dev.optgptq.formats.packed;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.node.ObjectNode;

/** What is MLX's alone: biases in place of zero points, and grids by the names of modules. */
class MlxFormatTest {

    private static final int INPUTS = 64;
    private static final int OUTPUTS = 32;
    private static final int GROUPS = 2;
    private static final Provenance PROVENANCE = new Provenance("opt-gptq:0.1.0", 0.01, true, false);
    private static final String DOWN = "model.layers.0.mlp.down_proj";
    private static final String UP = "model.layers.0.mlp.up_proj";

    private final Map<String, TensorView> stored = new HashMap<>();

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 8})
    void biases_of_symmetric_grids_are_exact_for_every_scale(int bits) {
        int zero = 1 << (bits - 1);
        for (int scale = Short.MIN_VALUE; scale <= Short.MAX_VALUE; scale++) {
            double exact = 0 - (double) Floats.fromF16((short) scale) * zero; // never -0
            if (Math.abs(exact) <= 65504) {
                assertEquals(exact, Floats.fromF16(MlxBiases.of((short) scale, zero)), "scale bits " + scale);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"4, 0.0074", "8, 0.126"})
    void a_bias_of_any_zero_point_is_within_the_budget_and_gives_the_zero_point_back(int bits, double budget) {
        Random random = new Random(5);
        double most = 0;
        for (int i = 0; i < 200; i++) {
            short scale = Floats.toF16(0.5f * random.nextFloat() - 0.25f);
            int zero = random.nextInt(1 << bits);
            store(bits, DType.F16, Floats.fromF16(scale), Floats.fromF16(MlxBiases.of(scale, zero)));
            assertEquals(zero, zeroAt(bits), "seed 5, scale " + Floats.fromF16(scale));
            most = Math.max(most, grid(bits).biasChange("m", stored));
        }
        assertTrue(most > 0 && most < budget, "seed 5: " + most);
    }

    @Test
    void the_fast_conversion_writes_the_codes_of_the_definition() {
        for (int bits : PackedGrid.BITS) {
            Random random = new Random(bits);
            PackedLayout layout = new PackedLayout("m", bits, 32, INPUTS, OUTPUTS);
            byte[] codes = new byte[INPUTS * OUTPUTS];
            MemorySegment expected = Arena.ofAuto().allocate((long) INPUTS * OUTPUTS * bits / 8, 8);
            BitPlace place = new MlxFormat().codes(layout);
            for (int i = 0; i < codes.length; i++) {
                codes[i] = (byte) random.nextInt(1 << bits);
                place.put(expected, i / OUTPUTS, i % OUTPUTS, bits, codes[i] & 0xff);
            }
            MemorySegment qweight = Arena.ofAuto().allocate(layout.qweight().bytes(), 8);
            Packing.packWeights(MemorySegment.ofArray(codes), bits, INPUTS, OUTPUTS, qweight);
            MemorySegment written = Arena.ofAuto().allocate(layout.qweight().bytes(), 8);
            new MlxFormat().tensors(layout, grid(bits)).getFirst().encode().apply(qweight, written);
            assertEquals(-1, expected.mismatch(written), bits + " bits");
        }
    }

    /** MLX divides the edge of a group by a whole number, and rounds the quotient and the edge apart (affine_quantize). */
    @Test
    void scales_and_biases_that_mlx_rounded_apart_are_read_and_the_difference_is_told() {
        float edge = Floats.fromBF16(Floats.toBF16(-0.71f));
        store(4, DType.BF16, -edge / 11, edge);
        assertEquals(11, zeroAt(4));
        double change = grid(4).biasChange("m", stored);
        assertTrue(change > 0 && change < 0.12, () -> "changed by " + change);
    }

    @Test
    void a_group_of_zeros_has_any_zero_point() {
        store(4, DType.F16, 0, 0);
        assertEquals(8, zeroAt(4));
    }

    @ParameterizedTest
    @CsvSource({"0.125, -1.05", "0.125, -2", "0.125, 0.125", "0, -1"})
    void a_bias_that_no_zero_point_stands_for_is_refused_by_its_place(float scale, float bias) {
        store(4, DType.F16, 0.5f, -4);
        set(DType.F16, 3 * GROUPS + 1, scale, bias);
        assertUserError(Code.UNSUPPORTED_MODEL, () -> zeroAt(4), "m.biases", "from -15 to 0",
                "at group 1, output 3", "start from the unquantized model");
    }

    @Test
    void damaged_tensors_are_named() {
        store(4, DType.F16, 0.5f, Float.NaN);
        assertUserError(Code.NUMERIC, () -> zeroAt(4), "m.biases", "found NaN");
        store(4, DType.F16, 0.5f, -4);
        assertUserError(Code.BAD_MODEL, () -> zeroAt(2), "m.scales", "expected F16 [32, 4]", "found F16 [32, 2]");
        put("biases", DType.F16, OUTPUTS, 1);
        assertUserError(Code.BAD_MODEL, () -> zeroAt(4), "m.biases", "expected F16 [32, 2]");
    }

    @Test
    void the_config_is_the_one_that_mlx_lm_reads() {
        QuantizationConfig config = new QuantizationConfig(4, 64, true, false, CheckpointFormat.MLX,
                List.of(new ModuleGrid(".*\\.down_proj$", 8, 32, true)), List.of());
        ObjectNode block = config.toJson(PROVENANCE, List.of(UP, DOWN), List.of("lm_head"));
        assertEquals(Json.parseObject("""
                {"group_size":64,"bits":4,"model.layers.0.mlp.down_proj":{"group_size":32,"bits":8}}""", "expected",
                Code.BAD_MODEL), block);
        QuantizationConfig read = QuantizationConfig.fromMlx(block, "config.json");
        assertEquals(8, read.forModule(DOWN).bits());
        assertEquals(32, read.forModule(DOWN).groupSize());
        assertEquals(4, read.forModule(UP).bits());
        assertEquals(4, read.forModule(DOWN + "_b").bits());
        assertEquals(List.of(DOWN), List.of(DOWN, DOWN.replace('.', '_')).stream()
                .filter(read.modules().getFirst()::matches).toList());
    }

    @Test
    void modules_that_mlx_lm_left_plain_are_no_grids() {
        QuantizationConfig read = read("\"bits\":4,\"mode\":\"affine\",\"lm_head\":false,\"" + UP + "\":true");
        assertEquals(new QuantizationConfig(4, 64, false, false, CheckpointFormat.MLX), read);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {"\"bits\":4,\"mode\":\"mxfp4\"|\"affine\" at 'mode'",
            "\"bits\":6|2, 3, 4 or 8 at 'bits'", "\"bits\":4,\"group_size\":16|32, 64 or 128 at 'group_size'",
            "\"bits\":4,\"linear_class\":\"x\"|'linear_class'",
            "\"bits\":4,\"m\":{\"group_size\":64,\"bits\":4,\"mode\":\"nvfp4\"}|\"affine\" at 'mode'",
            "\"bits\":4,\"m\":{\"group_size\":64,\"bits\":4,\"x\":1}|only group_size, bits and mode at 'x'"})
    void a_kind_of_quantization_that_is_not_read_is_named(String entries, String fragment) {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> read(entries), "config.json", fragment);
    }

    @Test
    void experts_have_the_common_grid() {
        QuantizationConfig config = new QuantizationConfig(4, 64, true, false, CheckpointFormat.MLX,
                List.of(new ModuleGrid(".*experts.*", 8, 64, true)), List.of());
        assertUserError(Code.BAD_SETTING,
                () -> config.requireNamed(List.of(UP, "model.layers.0.mlp.experts.3.up_proj")),
                "format mlx", "experts.3.up_proj");
    }

    private static QuantizationConfig read(String entries) {
        ObjectNode block = Json.parseObject("{\"group_size\":64}", "config.json", Code.BAD_MODEL);
        block.setAll(Json.parseObject("{" + entries + "}", "config.json", Code.BAD_MODEL));
        return QuantizationConfig.fromMlx(block, "config.json");
    }

    private static QuantizationConfig grid(int bits) {
        return new QuantizationConfig(bits, 32, false, false, CheckpointFormat.MLX);
    }

    /** The zero point of the first group and output. */
    private int zeroAt(int bits) {
        PackedLinear linear = PackedLinearReader.read("m", stored, grid(bits));
        int[] zeros = new int[linear.groups() * OUTPUTS];
        Packing.unpackZeros(linear.qzeros(), bits, linear.groups(), OUTPUTS, 0, MemorySegment.ofArray(zeros));
        return zeros[0];
    }

    /** A linear whose codes are 0 and whose groups all have one scale and bias. */
    private void store(int bits, DType dtype, float scale, float bias) {
        put("weight", DType.U32, OUTPUTS, INPUTS * bits / Integer.SIZE);
        put("scales", dtype, OUTPUTS, GROUPS);
        put("biases", dtype, OUTPUTS, GROUPS);
        for (int i = 0; i < OUTPUTS * GROUPS; i++) {
            set(dtype, i, scale, bias);
        }
    }

    private void set(DType dtype, int i, float scale, float bias) {
        StoredFloats.set(Objects.requireNonNull(stored.get("m.scales")).data(), dtype, i, scale);
        StoredFloats.set(Objects.requireNonNull(stored.get("m.biases")).data(), dtype, i, bias);
    }

    private void put(String name, DType dtype, int rows, int columns) {
        stored.put("m." + name, new TensorView("m." + name, dtype, Shape.of(rows, columns),
                Arena.ofAuto().allocate((long) rows * columns * dtype.bytes(), ValueLayout.JAVA_LONG.byteSize()),
                Path.of("model.safetensors")));
    }
}
