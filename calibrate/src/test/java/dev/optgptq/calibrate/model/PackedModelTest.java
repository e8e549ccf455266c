package dev.optgptq.calibrate.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Loads a model with one linear packed, and compares it with the sum that the format defines. */
class PackedModelTest {

    private static final String MODULE = "model.layers.1.mlp.up_proj";
    private static final int INPUTS = 64;
    private static final int OUTPUTS = 160;
    private static final int GROUP = 32;
    private static final int GROUPS = INPUTS / GROUP;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"reference, 2, GPTQ", "reference, 3, GPTQ_V2", "reference, 4, GPTQ", "reference, 8, GPTQ_V2",
            "cpu, 3, GPTQ", "cpu, 4, GPTQ_V2"})
    void aPackedLinearIsLoadedAsTheWeightsItStandsFor(String deviceName, int bits, CheckpointFormat format) {
        Random random = new Random(bits);
        float[] expected = new float[OUTPUTS * INPUTS];
        Path model = write(bits, format, new PackedLayout(MODULE, bits, GROUP, INPUTS, OUTPUTS), random, expected);
        try (Device device = Devices.open(deviceName, 2);
                ModelDirectory directory = ModelDirectory.open(model);
                TensorArena arena = device.arena()) {
            BlockWeights block = Transformer.open(directory, device).loadBlock(1, arena);
            float[] loaded = TestDevices.download(device, block.of(Projection.UP).weight());
            assertArrayEquals(expected, loaded, "seed " + bits);
        }
    }

    @ParameterizedTest
    @CsvSource({"2, GPTQ", "3, GPTQ_V2", "4, GPTQ", "8, GPTQ_V2"})
    void aPackedLinearThatWasUploadedAheadIsTheSame(int bits, CheckpointFormat format) {
        float[] expected = new float[OUTPUTS * INPUTS];
        Path path = write(bits, format, new PackedLayout(MODULE, bits, GROUP, INPUTS, OUTPUTS), new Random(bits),
                expected);
        try (EmulatedGpu gpu = EmulatedGpu.open();
                ModelDirectory directory = ModelDirectory.open(path);
                TensorArena arena = gpu.device().arena()) {
            Device device = gpu.device();
            Transformer model = Transformer.open(directory, device);
            try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                prefetch.wants(1);
                float[] loaded = TestDevices.download(device, model.loadBlock(1, arena).of(Projection.UP).weight());
                assertArrayEquals(expected, loaded, "seed " + bits);
            }
        }
    }

    @Test
    void aPackedLinearOfAnotherSizeIsNamed() {
        Path model = write(4, CheckpointFormat.GPTQ, new PackedLayout(MODULE, 4, GROUP, INPUTS, OUTPUTS - 32),
                new Random(0), new float[OUTPUTS * INPUTS]);
        try (Device device = TestDevices.reference(); ModelDirectory directory = ModelDirectory.open(model)) {
            assertUserError(Code.BAD_MODEL, () -> Transformer.open(directory, device), MODULE,
                    "expected 160 outputs and 64 inputs, found 128 and 64");
        }
    }

    /** Rows of an embedding are read, not decoded. */
    @Test
    void aPackedEmbeddingIsRefusedByItsName() {
        Path model = write(4, CheckpointFormat.GPTQ, new PackedLayout("model.embed_tokens", 4, GROUP, INPUTS, OUTPUTS),
                new Random(0), new float[OUTPUTS * INPUTS]);
        try (Device device = TestDevices.reference(); ModelDirectory directory = ModelDirectory.open(model)) {
            assertUserError(Code.UNSUPPORTED_MODEL, () -> Transformer.open(directory, device),
                    "model.embed_tokens: expected an embedding stored as floats, found one quantized as gptq",
                    "quantize the linears alone");
        }
    }

    /** The llama fixture with one linear replaced; {@code expected} becomes scale * (code - zero), [outputs, inputs]. */
    private Path write(int bits, CheckpointFormat format, PackedLayout layout, Random random, float[] expected) {
        QuantizationConfig quantization = new QuantizationConfig(bits, GROUP, isSymmetric(format), false, format);
        Path model = Fixture.copy(Fixture.LLAMA, folder.resolve("packed"), config -> config.set("quantization_config",
                quantization.toJson(new QuantizationConfig.Provenance("test", 0.01, false, false), List.of(),
                        List.of())));
        try (Arena arena = Arena.ofConfined();
                ModelDirectory original = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Map<TensorSpec, MemorySegment> tensors = new LinkedHashMap<>();
            for (TensorView view : original.tensors().values()) {
                if (!view.name().equals(layout.module() + ".weight")) {
                    tensors.put(new TensorSpec(view.name(), view.dtype(), view.shape()), view.data());
                }
            }
            pack(layout, format, random, arena, tensors, expected);
            try (SafetensorsWriter writer = new SafetensorsWriter(model.resolve("model.safetensors"),
                    tensors.keySet().stream().toList(), Map.of())) {
                tensors.forEach((spec, data) -> writer.write(spec.name(), data));
                writer.finish();
            }
        }
        return model;
    }

    /** Version 1 holds no asymmetric grids. */
    private static boolean isSymmetric(CheckpointFormat format) {
        return format == CheckpointFormat.GPTQ;
    }

    private static void pack(PackedLayout layout, CheckpointFormat format, Random random, Arena arena,
            Map<TensorSpec, MemorySegment> tensors, float[] expected) {
        int outputs = layout.outputs();
        int codesPerWeight = 1 << layout.bits();
        MemorySegment codes = arena.allocate((long) INPUTS * outputs);
        MemorySegment zeros = arena.allocate(ValueLayout.JAVA_INT, (long) GROUPS * outputs);
        MemorySegment scales = arena.allocate(ValueLayout.JAVA_SHORT, (long) GROUPS * outputs);
        MemorySegment gIdx = arena.allocate(ValueLayout.JAVA_INT, INPUTS);
        for (int i = 0; i < GROUPS * outputs; i++) {
            int zero = isSymmetric(format) ? codesPerWeight / 2 : random.nextInt(codesPerWeight);
            zeros.setAtIndex(ValueLayout.JAVA_INT, i, zero);
            scales.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toF16(0.01f + random.nextFloat()));
        }
        for (int input = 0; input < INPUTS; input++) {
            int group = input / GROUP;
            gIdx.setAtIndex(ValueLayout.JAVA_INT, input, group);
            for (int output = 0; output < outputs; output++) {
                int code = random.nextInt(codesPerWeight);
                codes.set(ValueLayout.JAVA_BYTE, (long) input * outputs + output, (byte) code);
                long at = (long) group * outputs + output;
                expected[output * INPUTS + input] = Floats.fromF16(scales.getAtIndex(ValueLayout.JAVA_SHORT, at))
                        * (code - zeros.getAtIndex(ValueLayout.JAVA_INT, at));
            }
        }
        MemorySegment qweight = arena.allocate(layout.qweight().bytes());
        MemorySegment qzeros = arena.allocate(layout.qzeros().bytes());
        Packing.packWeights(codes, layout.bits(), INPUTS, outputs, qweight);
        Packing.packZeros(zeros, layout.bits(), GROUPS, outputs, format.packing().zeroOffset(), qzeros);
        tensors.put(layout.qweight(), qweight);
        tensors.put(layout.qzeros(), qzeros);
        tensors.put(new TensorSpec(layout.scales().name(), DType.F16, Shape.of(GROUPS, outputs)), scales);
        tensors.put(layout.gIdx(), gIdx);
    }
}
