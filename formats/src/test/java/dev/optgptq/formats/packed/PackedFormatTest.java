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
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigInteger;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Every format against a decoder that is written here from the format's specification, with numbers of any size in place of words, and
 * against its own definition bit by bit.
 */
class PackedFormatTest {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final int OUTPUTS = 96;
    private static final int INPUTS = 160;

    private final Random random = new Random(11);
    private final Arena arena = Arena.ofAuto();
    private final int[][] codes = new int[INPUTS][OUTPUTS];
    private final Map<String, TensorView> stored = new HashMap<>();

    @ParameterizedTest
    @CsvSource({"GPTQ, 4, 32, true", "GPTQ, 3, -1, true", "GPTQ_V2, 3, 32, false", "GPTQ_V2, 8, 160, false",
            "COMPRESSED_TENSORS, 2, 32, true", "COMPRESSED_TENSORS, 3, 32, false", "COMPRESSED_TENSORS, 4, 32, true",
            "COMPRESSED_TENSORS, 4, -1, false", "COMPRESSED_TENSORS, 8, 160, false", "AWQ, 4, 32, false",
            "AWQ, 4, -1, false", "W8A8, 8, -1, true", "MLX, 2, 32, true", "MLX, 3, 32, false", "MLX, 4, 32, true",
            "MLX, 8, 32, false", "SLIMQUANT, 4, -1, true", "SLIMQUANT, 8, -1, true"})
    void what_is_stored_decodes_to_the_same_weights_by_the_specification_and_by_the_reader(CheckpointFormat format,
            int bits, int groupSize, boolean symmetric) {
        QuantizationConfig config = new QuantizationConfig(bits, groupSize, symmetric, false, format);
        PackedLayout layout = new PackedLayout("m", bits, groupSize, INPUTS, OUTPUTS);
        int[][] zeros = zeros(layout, symmetric);
        PackedLinear linear = linear(layout, zeros, config);
        store(linear, config, layout);

        int width = groupSize == -1 ? INPUTS : groupSize;
        for (int input = 0; input < INPUTS; input++) {
            for (int output = 0; output < OUTPUTS; output++) {
                int group = input / width;
                String at = format + ", input " + input + ", output " + output;
                assertEquals(codes[input][output] - zeros[group][output],
                        steps(format, bits, group, input, output), at);
                assertEquals(linear.scales().get(SHORT, 2 * at(group, OUTPUTS, output)),
                        scale(format, layout, group, output),
                        at);
            }
        }

        PackedLinear read = PackedLinearReader.read("m", stored, config);
        for (PackedPart part : PackedPart.values()) {
            assertArrayEquals(linear.part(part).toArray(ValueLayout.JAVA_BYTE),
                    read.part(part).toArray(ValueLayout.JAVA_BYTE), format + " " + part);
        }
        assertEquals(layout, PackedLinearReader.check("m", stored, config));
    }

    @ParameterizedTest
    @CsvSource({"GPTQ_V2, 3", "GPTQ_V2, 4", "COMPRESSED_TENSORS, 2", "COMPRESSED_TENSORS, 3", "COMPRESSED_TENSORS, 8",
            "AWQ, 4"})
    void the_fast_conversion_writes_the_bits_of_the_definition(CheckpointFormat format, int bits) {
        QuantizationConfig config = new QuantizationConfig(bits, 32, false, false, format);
        PackedLayout layout = new PackedLayout("m", bits, 32, INPUTS, OUTPUTS);
        int[][] zeros = zeros(layout, false);
        store(linear(layout, zeros, config), config, layout);
        PackedFormat packing = format.packing();
        BitPlace codePlace = packing.codes(layout);
        BitPlace zeroPlace = packing.zeros(layout);

        MemorySegment codesBytes = arena.allocate(bytes(format.codes()).byteSize());
        MemorySegment zeroBytes = arena.allocate(layout.qzeros().bytes());
        for (int output = 0; output < OUTPUTS; output++) {
            for (int input = 0; input < INPUTS; input++) {
                codePlace.put(codesBytes, input, output, bits, codes[input][output]);
            }
            for (int group = 0; group < layout.groups(); group++) {
                zeroPlace.put(zeroBytes, group, output, bits, zeros[group][output]);
                assertEquals(zeros[group][output], zeroPlace.get(zeroBytes, group, output, bits));
            }
        }
        assertEquals(-1, codesBytes.mismatch(bytes(format.codes())), format + " codes");
        assertEquals(-1,
                zeroBytes.mismatch(
                        bytes(format == CheckpointFormat.COMPRESSED_TENSORS ? ".weight_zero_point" : ".qzeros")),
                format + " zeros");
    }

    @Test
    void groups_by_activity_are_stored_by_compressed_tensors() {
        QuantizationConfig config = new QuantizationConfig(4, 32, true, true, CheckpointFormat.COMPRESSED_TENSORS);
        PackedLayout layout = new PackedLayout("m", 4, 32, INPUTS, OUTPUTS);
        PackedLinear linear = linear(layout, zeros(layout, true), config);
        linear.gIdx().setAtIndex(INT, 0, 4);
        store(linear, config, layout);
        assertEquals(4, PackedLinearReader.read("m", stored, config).gIdx().getAtIndex(INT, 0));

        linear.gIdx().setAtIndex(INT, 0, 5);
        store(linear, config, layout);
        assertUserError(Code.BAD_MODEL, () -> PackedLinearReader.read("m", stored, config), "m.weight_g_idx",
                "groups from 0 to 4, found 5");
    }

    @Test
    void a_tensor_that_the_config_does_not_speak_of_is_refused_unless_it_says_nothing() {
        QuantizationConfig config = new QuantizationConfig(4, 32, true, false, CheckpointFormat.COMPRESSED_TENSORS);
        PackedLayout layout = new PackedLayout("m", 4, 32, INPUTS, OUTPUTS);
        store(linear(layout, zeros(layout, true), config), config, layout);
        byte[] points = new byte[OUTPUTS * 5];
        put(new TensorSpec("m.weight_zero_point", DType.I8, Shape.of(OUTPUTS, 5)), MemorySegment.ofArray(points));
        assertEquals(INPUTS, PackedLinearReader.read("m", stored, config).inputs());
        points[7] = 1;
        assertUserError(Code.BAD_MODEL, () -> PackedLinearReader.read("m", stored, config), "m.weight_zero_point",
                "or zeros");
    }

    @Test
    void a_shape_that_contradicts_the_codes_is_refused() {
        QuantizationConfig config = new QuantizationConfig(4, 32, true, false, CheckpointFormat.COMPRESSED_TENSORS);
        PackedLayout layout = new PackedLayout("m", 4, 32, INPUTS, OUTPUTS);
        store(linear(layout, zeros(layout, true), config), config, layout);
        put(new TensorSpec("m.weight_shape", DType.I64, Shape.of(2)), MemorySegment.ofArray(new long[] {OUTPUTS, 192}));
        assertUserError(Code.BAD_MODEL, () -> PackedLinearReader.read("m", stored, config), "m.weight_packed",
                "expected I32 [96, 24]", "found I32 [96, 20]");
    }

    @Test
    void scales_of_bfloat16_are_read_and_their_place_is_named() {
        QuantizationConfig config = new QuantizationConfig(4, 32, true, false, CheckpointFormat.COMPRESSED_TENSORS);
        PackedLayout layout = new PackedLayout("m", 4, 32, INPUTS, OUTPUTS);
        store(linear(layout, zeros(layout, true), config), config, layout);
        MemorySegment scales = arena.allocate(2L * OUTPUTS * 5, 8);
        for (int i = 0; i < OUTPUTS * 5; i++) {
            scales.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toBF16(0.25f + i));
        }
        put(new TensorSpec("m.weight_scale", DType.BF16, Shape.of(OUTPUTS, 5)), scales);
        // Output 3 of group 2 is scale 3 * 5 + 2 of outputs-first, and 2 * OUTPUTS + 3 of groups-first.
        assertEquals(Floats.fromBF16(Floats.toBF16(17.25f)), Floats.fromF16(
                PackedLinearReader.read("m", stored, config).scales().get(SHORT, 2 * at(2, OUTPUTS, 3))));
        scales.setAtIndex(ValueLayout.JAVA_SHORT, 17, Floats.toBF16(Float.NaN));
        assertUserError(Code.NUMERIC, () -> PackedLinearReader.read("m", stored, config), "at group 2, output 3");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"AWQ|8|128|false|false|--bits 4", "AWQ|4|128|false|true|--act-order static",
            "W8A8|4|-1|true|false|--bits 8", "W8A8|8|128|true|false|--group-size -1",
            "W8A8|8|-1|false|false|--symmetric", "SLIMQUANT|4|32|true|false|leave --bits",
            "SLIMQUANT|3|-1|true|false|leave --bits", "GPTQ|4|128|false|false|gptq_v2",
            "MLX|4|-1|true|false|--group-size 64",
            "MLX|4|64|true|true|--act-order static"})
    void a_grid_that_a_format_cannot_hold_is_refused_with_the_nearest_that_it_can(CheckpointFormat format, int bits,
            int groupSize, boolean symmetric, boolean descAct, String remedy) {
        assertUserError(Code.BAD_SETTING, () -> new QuantizationConfig(bits, groupSize, symmetric, descAct, format),
                "format", remedy);
    }

    /** code - zero of a weight, decoded as each format's own documentation says. */
    private int steps(CheckpointFormat format, int bits, int group, int input, int output) {
        int half = 1 << (bits - 1);
        return switch (format) {
            case GPTQ -> column(".qweight", bits, input, output, OUTPUTS)
                    - ((row(".qzeros", bits, group, output) + 1) & (2 * half - 1));
            case GPTQ_V2 -> column(".qweight", bits, input, output, OUTPUTS) - row(".qzeros", bits, group, output);
            case COMPRESSED_TENSORS -> {
                int signed = row(".weight_packed", bits, output, input) - half;
                int groups = (int) (bytes(".weight_scale").byteSize() / 2 / OUTPUTS);
                int zero = stored.containsKey("m.weight_zero_point")
                        ? column(".weight_zero_point", bits, output, group, groups) - half
                        : 0;
                yield signed - zero;
            }
            case AWQ -> awq(".qweight", input, output) - awq(".qzeros", group, output);
            case W8A8 -> bytes(".weight").get(ValueLayout.JAVA_BYTE, (long) output * INPUTS + input);
            // Signed, the first of two inputs in the high nibble: hyv4_w4a8_kernels.py, unpack_int4.
            case SLIMQUANT -> {
                byte stored = bytes(".weight").get(ValueLayout.JAVA_BYTE,
                        ((long) output * INPUTS + input) * bits / 8);
                yield bits == 8 ? stored : input % 2 == 0 ? stored >> 4 : (byte) (stored << 4) >> 4;
            }
            // scale * code + bias, with biases of -scale * zero
            case MLX -> row(".weight", bits, output, input)
                    + (int) Math.rint(half(".biases", output, group) / half(".scales", output, group));
        };
    }

    private short scale(CheckpointFormat format, PackedLayout layout, int group, int output) {
        return switch (format) {
            case GPTQ, GPTQ_V2, AWQ -> bytes(".scales").get(SHORT, 2 * at(group, OUTPUTS, output));
            case COMPRESSED_TENSORS, W8A8 ->
                bytes(".weight_scale").get(SHORT, 2 * at(output, layout.groups(), group));
            case MLX -> bytes(".scales").get(SHORT, 2 * at(output, layout.groups(), group));
            // Of 16 times a 4-bit code: SlimQuantW4A8Int8AiterMoEMethod multiplies it by 16.
            case SLIMQUANT -> Floats.toF16(bytes(".weight_scale").get(FLOAT, 4L * output)
                    * (layout.bits() == 4 ? 16 : 1));
        };
    }

    private double half(String suffix, int row, int column) {
        return Floats.fromF16(bytes(suffix).get(SHORT, 2 * at(row, view(suffix).shape().dimension(1), column)));
    }

    /** Number i of a row of words that are one long little-endian number. */
    private int row(String suffix, int bits, int row, int i) {
        int words = Math.toIntExact(view(suffix).shape().dimension(1));
        byte[] bigEndian = new byte[4 * words + 1];
        for (int b = 0; b < 4 * words; b++) {
            bigEndian[4 * words - b] = bytes(suffix).get(ValueLayout.JAVA_BYTE, 4L * row * words + b);
        }
        return number(bigEndian, bits, i);
    }

    /** The same of a column. */
    private int column(String suffix, int bits, int i, int column, int columns) {
        int words = Math.toIntExact(view(suffix).shape().dimension(0));
        byte[] bigEndian = new byte[4 * words + 1];
        for (int b = 0; b < 4 * words; b++) {
            bigEndian[4 * words - b] = bytes(suffix).get(ValueLayout.JAVA_BYTE,
                    4 * at(b / 4, columns, column) + b % 4);
        }
        return number(bigEndian, bits, i);
    }

    private static int number(byte[] bigEndian, int bits, int i) {
        return new BigInteger(bigEndian).shiftRight(bits * i).and(BigInteger.valueOf((1L << bits) - 1)).intValueExact();
    }

    /** AutoAWQ packs outputs 0 2 4 6 1 3 5 7 of eight into a word, lowest bits first. */
    private int awq(String suffix, int row, int output) {
        int[] order = {0, 2, 4, 6, 1, 3, 5, 7};
        int word = bytes(suffix).get(INT, 4 * at(row, OUTPUTS / 8, output / 8));
        for (int nibble = 0; nibble < 8; nibble++) {
            if (order[nibble] == output % 8) {
                return (word >>> (4 * nibble)) & 15;
            }
        }
        throw new AssertionError(output);
    }

    private int[][] zeros(PackedLayout layout, boolean symmetric) {
        int[][] zeros = new int[layout.groups()][OUTPUTS];
        for (int[] row : zeros) {
            for (int output = 0; output < OUTPUTS; output++) {
                row[output] = symmetric ? 1 << (layout.bits() - 1) : random.nextInt(1 << layout.bits());
            }
        }
        return zeros;
    }

    /** Random codes and scales in GPTQ layout. */
    private PackedLinear linear(PackedLayout layout, int[][] zeros, QuantizationConfig config) {
        int bits = layout.bits();
        int groups = layout.groups();
        MemorySegment codeBytes = arena.allocate((long) INPUTS * OUTPUTS);
        MemorySegment zeroInts = arena.allocate(4L * groups * OUTPUTS, 4);
        MemorySegment scales = arena.allocate(2L * groups * OUTPUTS, 8);
        MemorySegment gIdx = arena.allocate(4L * INPUTS, 8);
        for (int input = 0; input < INPUTS; input++) {
            gIdx.setAtIndex(INT, input, input / (INPUTS / groups));
            for (int output = 0; output < OUTPUTS; output++) {
                codes[input][output] = random.nextInt(1 << bits);
                codeBytes.set(ValueLayout.JAVA_BYTE, (long) input * OUTPUTS + output, (byte) codes[input][output]);
            }
        }
        for (int i = 0; i < groups * OUTPUTS; i++) {
            zeroInts.setAtIndex(INT, i, zeros[i / OUTPUTS][i % OUTPUTS]);
            scales.setAtIndex(SHORT, i, Floats.toF16(random.nextFloat() - 0.5f));
        }
        int offset = config.format().packing().zeroOffset();
        MemorySegment qweight = arena.allocate(layout.qweight().bytes(), 8);
        MemorySegment qzeros = arena.allocate(layout.qzeros().bytes(), 8);
        Packing.packWeights(codeBytes, bits, INPUTS, OUTPUTS, qweight);
        Packing.packZeros(zeroInts, bits, groups, OUTPUTS, offset, qzeros);
        return new PackedLinear(bits, INPUTS, OUTPUTS, groups, offset, qweight, qzeros, scales, gIdx);
    }

    private void store(PackedLinear linear, QuantizationConfig config, PackedLayout layout) {
        stored.clear();
        for (StoredTensor tensor : config.tensors("m", layout.inputs(), layout.outputs())) {
            MemorySegment bytes = arena.allocate(tensor.spec().bytes(), 8);
            config.format().packing().encode(tensor, linear, bytes);
            put(tensor.spec(), bytes);
        }
    }

    private void put(TensorSpec spec, MemorySegment data) {
        stored.put(spec.name(),
                new TensorView(spec.name(), spec.dtype(), spec.shape(), data, Path.of("model.safetensors")));
    }

    private TensorView view(String suffix) {
        return Objects.requireNonNull(stored.get("m" + suffix), suffix);
    }

    private MemorySegment bytes(String suffix) {
        return view(suffix).data();
    }

    private static long at(long row, long columns, long column) {
        return row * columns + column;
    }
}
