package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The tensors of a written checkpoint, decoded by the specification of the format alone. */
class InteropTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"LLAMA, 2, 32, true, NONE, GPTQ", "LLAMA, 3, 64, true, GROUP, GPTQ",
            "LLAMA, 4, 128, true, STATIC, GPTQ",
            "LLAMA, 8, -1, true, STATIC, GPTQ", "LLAMA, 4, 16, true, GROUP, GPTQ", "LLAMA, 4, -1, true, GROUP, GPTQ",
            "MPT, 2, 64, true, STATIC, GPTQ_V2", "MPT, 3, 32, false, GROUP, GPTQ_V2",
            "MPT, 4, 128, false, STATIC, GPTQ_V2", "MPT, 8, 32, false, NONE, GPTQ_V2",
            "MPT, 2, -1, false, NONE, GPTQ_V2",
            "MPT, 3, 128, true, NONE, GPTQ"})
    void the_written_tensors_stand_for_the_weights_that_calibrate_loads(TinyModel.Family family, int bits,
            int groupSize, boolean symmetric, ActOrder actOrder, CheckpointFormat format) {
        TinyRun run = new TinyRun(TinyModel.of(family).write(folder.resolve("model")), folder);
        run.bits = bits;
        run.groupSize = groupSize;
        run.symmetric = symmetric;
        run.actOrder = actOrder;
        run.format = format;
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        try (Device device = Devices.open("cpu", 2); ModelDirectory directory = ModelDirectory.open(run.output)) {
            Transformer model = Transformer.open(directory, device);
            for (int block = 0; block < TinyModel.BLOCKS; block++) {
                try (TensorArena arena = device.arena()) {
                    BlockWeights weights = model.loadBlock(block, arena);
                    for (LinearSpec linear : weights.linears()) {
                        assertSameBits(download(device, weights.weight(linear)),
                                written.dequantized(linear.module()), linear.module() + " of " + run);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"LLAMA, 2, 32, true, GPTQ", "LLAMA, 3, 64, true, GPTQ", "LLAMA, 8, 128, true, GPTQ_V2",
            "MPT, 4, -1, true, GPTQ", "MPT, 4, 16, false, GPTQ_V2", "MPT, 3, 32, false, GPTQ_V2"})
    void round_to_nearest_writes_every_weight_within_half_a_step_of_the_source(TinyModel.Family family, int bits,
            int groupSize, boolean symmetric, CheckpointFormat format) {
        Path model = TinyModel.of(family).write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = CalibratorKind.RTN;
        run.bits = bits;
        run.groupSize = groupSize;
        run.symmetric = symmetric;
        run.format = format;
        run.run();

        WrittenCheckpoint source = WrittenCheckpoint.read(model);
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        for (String module : written.modules()) {
            float[] before = source.tensor(module + ".weight").floats();
            float[] after = written.dequantized(module);
            int[] gIdx = written.tensor(module + ".g_idx").ints();
            float[] scales = written.tensor(module + ".scales").floats();
            int outputs = before.length / gIdx.length;
            for (int at = 0; at < before.length; at++) {
                float step = scales[gIdx[at % gIdx.length] * outputs + at / gIdx.length];
                // A scale rounded down to float16 moves the ends of the grid inwards, and rounding the zero point moves
                // an asymmetric grid by up to half a step.
                double allowed = ((symmetric ? 0.5 : 1) + (1 << bits) * 0x1p-11) * step;
                assertTrue(Math.abs(before[at] - after[at]) <= allowed, module + " weight " + at + ": " + before[at]
                        + " became " + after[at] + ", steps of " + step);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"2, 32, 4", "3, 64, 2", "4, 128, 1", "8, -1, 1"})
    void packed_tensors_have_the_shapes_and_dtypes_of_the_format(int bits, int groupSize, int groupsOfHidden) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.RTN;
        run.bits = bits;
        run.groupSize = groupSize;
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        String gate = "model.layers.1.mlp.gate_proj";
        int inner = TinyModel.LLAMA.inner();
        assertEquals("I32 [" + 128 * bits / 32 + ", " + inner + "]", written.tensor(gate + ".qweight").layout());
        assertEquals("I32 [" + groupsOfHidden + ", " + inner * bits / 32 + "]",
                written.tensor(gate + ".qzeros").layout());
        assertEquals("F16 [" + groupsOfHidden + ", " + inner + "]", written.tensor(gate + ".scales").layout());
        assertEquals("I32 [128]", written.tensor(gate + ".g_idx").layout());
        assertFalse(written.tensors().containsKey(gate + ".weight"), "the plain weight must be gone");
        assertEquals(7 * TinyModel.BLOCKS, written.modules().length);
    }

    /** The words that readers which ignore or add to the zero points rely on; notes on the format, section 1.3. */
    @ParameterizedTest
    @CsvSource({"2, GPTQ, 55555555", "2, GPTQ_V2, aaaaaaaa", "3, GPTQ, db6db6db b6db6db6 6db6db6d",
            "3, GPTQ_V2, 24924924 49249249 92492492", "4, GPTQ, 77777777", "4, GPTQ_V2, 88888888",
            "8, GPTQ, 7f7f7f7f", "8, GPTQ_V2, 80808080"})
    void symmetric_zero_points_are_the_constant_words_of_their_version(int bits, CheckpointFormat format,
            String words) {
        TinyRun run = new TinyRun(TinyModel.MPT.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.RTN;
        run.bits = bits;
        run.format = format;
        run.run();

        int[] pattern = Arrays.stream(words.split(" ", -1)).mapToInt(word -> Integer.parseUnsignedInt(word, 16))
                .toArray();
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        for (String module : written.modules()) {
            int[] found = written.tensor(module + ".qzeros").ints();
            assertArrayEquals(IntStream.range(0, found.length).map(i -> pattern[i % pattern.length]).toArray(), found,
                    module);
        }
    }

    /** Runtimes fuse these and keep one g_idx for all; notes on the format, section 0, item 7. */
    @Test
    void linears_that_runtimes_fuse_share_one_irregular_g_idx() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.actOrder = ActOrder.GROUP;
        run.trueSequential = true;
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        String in = "model.layers.1.";
        int[] query = written.tensor(in + "self_attn.q_proj.g_idx").ints();
        int[] gate = written.tensor(in + "mlp.gate_proj.g_idx").ints();
        assertFalse(Arrays.equals(sequential(query.length, 32), query), "group order leaves the inputs' own order");
        assertArrayEquals(query, written.tensor(in + "self_attn.k_proj.g_idx").ints());
        assertArrayEquals(query, written.tensor(in + "self_attn.v_proj.g_idx").ints());
        assertArrayEquals(gate, written.tensor(in + "mlp.up_proj.g_idx").ints());
        assertArrayEquals(new long[] {32, 32, 32, 32}, IntStream.range(0, 4)
                .mapToLong(group -> Arrays.stream(query).filter(g -> g == group).count()).toArray());
    }

    @ParameterizedTest
    @CsvSource({"NONE, 32", "STATIC, 64", "STATIC, -1", "GROUP, -1"})
    void every_other_order_writes_the_sequential_g_idx_that_fast_kernels_assume(ActOrder actOrder, int groupSize) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.actOrder = actOrder;
        run.groupSize = groupSize;
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        for (String module : written.modules()) {
            int[] gIdx = written.tensor(module + ".g_idx").ints();
            assertArrayEquals(sequential(gIdx.length, groupSize == -1 ? gIdx.length : groupSize), gIdx, module);
        }
    }

    private static int[] sequential(int inputs, int groupSize) {
        return IntStream.range(0, inputs).map(i -> i / groupSize).toArray();
    }

    private static void assertSameBits(float[] expected, float[] found, String what) {
        assertEquals(expected.length, found.length, what);
        for (int i = 0; i < expected.length; i++) {
            // Zero times a negative difference is -0; no reader tells it from 0.
            assertEquals(Float.floatToRawIntBits(expected[i] + 0f), Float.floatToRawIntBits(found[i] + 0f),
                    what + " at " + i);
        }
    }

    /** [out, in]. */
    private static float[] download(Device device, Tensor weight) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, weight.elements());
            device.download(weight, bytes);
            return bytes.toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
