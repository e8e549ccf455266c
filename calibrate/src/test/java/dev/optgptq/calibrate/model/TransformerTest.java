package dev.optgptq.calibrate.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.node.ObjectNode;

class TransformerTest {

    private static final int LENGTH = 6;
    private static final int HIDDEN = 64;
    private static final List<InputSite> SITES = List.of(InputSite.ATTENTION_INPUT, InputSite.ATTENTION_OUTPUT,
            InputSite.MLP_INPUT, InputSite.MLP_OUTPUT);
    private static final short BFLOAT16_NAN = 0x7FC0;
    private static final short BFLOAT16_INFINITY = 0x7F80;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @SuppressWarnings("NullAway.Init")
    private Device device;

    @BeforeEach
    void openDevice() {
        device = TestDevices.reference();
    }

    @AfterEach
    void closeDevice() {
        assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        device.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA, Fixture.LLAMA_GQA, Fixture.MPT})
    void sequencesOfABatchDoNotSeeEachOther(String fixture) {
        float[] both = randomActivations(2);
        float[] together = runBlock(fixture, both, InputTap.NONE);
        int half = both.length / 2;
        assertArrayEquals(Arrays.copyOfRange(together, 0, half),
                runBlock(fixture, Arrays.copyOfRange(both, 0, half), InputTap.NONE));
        assertArrayEquals(Arrays.copyOfRange(together, half, both.length),
                runBlock(fixture, Arrays.copyOfRange(both, half, both.length), InputTap.NONE));
    }

    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA, Fixture.LLAMA_GQA, Fixture.MPT})
    void aLaterTokenDoesNotChangeEarlierOnes(String fixture) {
        float[] x = randomActivations(1);
        float[] before = runBlock(fixture, x, InputTap.NONE);
        x[x.length - 1] += 1;
        float[] after = runBlock(fixture, x, InputTap.NONE);
        int earlier = (LENGTH - 1) * HIDDEN;
        assertArrayEquals(Arrays.copyOf(before, earlier), Arrays.copyOf(after, earlier));
        assertNotEquals(before[earlier], after[earlier]);
    }

    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA, Fixture.MPT})
    void theTapSeesEverySiteOnceInOrderAtItsWidth(String fixture) {
        List<String> seen = new ArrayList<>();
        runBlock(fixture, randomActivations(1),
                (site, x, tokens) -> seen.add(site + " " + x.rows() + "x" + x.columns()));
        int intermediate = fixture.equals(Fixture.MPT) ? 256 : 160;
        assertEquals(List.of("ATTENTION_INPUT 6x64", "ATTENTION_OUTPUT 6x64", "MLP_INPUT 6x64",
                "MLP_OUTPUT 6x" + intermediate), seen);
    }

    @ParameterizedTest
    @ValueSource(strings = {"ATTENTION_INPUT", "ATTENTION_OUTPUT", "MLP_INPUT", "MLP_OUTPUT"})
    void theForwardPassStopsWhereTheTapSays(String last) {
        InputSite stop = SITES.stream().filter(site -> site.toString().equals(last)).findFirst().orElseThrow();
        List<InputSite> seen = new ArrayList<>();
        float[] x = randomActivations(1);
        float[] left = runBlock(Fixture.LLAMA, x, (site, input, tokens) -> {
            seen.add(site);
            return !site.equals(stop);
        });
        assertEquals(SITES.subList(0, SITES.indexOf(stop) + 1), seen);
        if (stop.compareTo(InputSite.ATTENTION_OUTPUT) <= 0) {
            assertArrayEquals(x, left, "no residual was added");
        }
    }

    @Test
    void writingToAWeightChangesWhatTheBlockComputes() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            BlockWeights block = model.loadBlock(0, arena);
            for (LinearSpec linear : block.linears()) {
                assertEquals(linear.outputs() + "x" + linear.inputs(),
                        block.weight(linear).rows() + "x" + block.weight(linear).columns());
                device.matrix().fill(block.weight(linear), 0);
            }
            float[] values = randomActivations(1);
            Tensor x = TestDevices.upload(device, arena, LENGTH, values);
            model.forward(block, x, model.workspace(arena, LENGTH, LENGTH), InputTap.NONE);
            assertArrayEquals(values, TestDevices.download(device, x),
                    "with all linears zero only the residual is left");
        }
    }

    @Test
    void aBatchThatIsNoMultipleOfTheSequenceLengthIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> runBlock(Fixture.LLAMA, new float[HIDDEN], InputTap.NONE));
    }

    @Test
    void aTensorOfAnotherShapeIsNamedWithBothShapesAndTheFile() {
        Path model = changed(Fixture.LLAMA, config -> config.put("intermediate_size", 168));
        assertUserError(Code.BAD_MODEL, () -> open(model), "model.layers.0.mlp.gate_proj.weight",
                "expected [168, 64], found [160, 64]", model.resolve("model.safetensors").toString());
    }

    @Test
    void missingTensorsAreNamed() {
        Path model = changed(Fixture.LLAMA, config -> config.put("num_hidden_layers", 3));
        assertUserError(Code.BAD_MODEL, () -> open(model), "missing", "model.layers.2.input_layernorm.weight",
                "and more");
    }

    @Test
    void anAbsurdNumberOfBlocksIsRefusedAtOnce() {
        Path model = changed(Fixture.LLAMA, config -> config.put("num_hidden_layers", Integer.MAX_VALUE));
        assertUserError(Code.BAD_MODEL, () -> open(model), "num_hidden_layers is 2147483647");
    }

    @Test
    void tensorsThatWouldBeIgnoredAreRefused() {
        Path model = changed(Fixture.LLAMA, config -> config.put("num_hidden_layers", 1));
        assertUserError(Code.BAD_MODEL, () -> open(model), "model.layers.1.");
    }

    @Test
    void aBiasThatConfigPromisesMustBeThere() {
        Path model = changed(Fixture.LLAMA, config -> config.put("attention_bias", true));
        assertUserError(Code.BAD_MODEL, () -> open(model), "missing", "model.layers.0.self_attn.q_proj.bias");
    }

    @Test
    void aNaNInABlockIsNamedWhenTheBlockIsLoaded() {
        Path model = changed(Fixture.LLAMA, config -> {});
        Fixture.damage(model, "model.layers.1.mlp.up_proj.weight", 42, BFLOAT16_NAN);
        try (ModelDirectory directory = ModelDirectory.open(model); TensorArena arena = device.arena()) {
            Transformer opened = Transformer.open(directory, device);
            opened.loadBlock(0, arena);
            assertUserError(Code.NUMERIC, () -> opened.loadBlock(1, arena), "model.layers.1.mlp.up_proj.weight",
                    "1 of 10240", model.resolve("model.safetensors").toString());
        }
    }

    @Test
    void anInfinityInTheEmbeddingIsNamedAtOnce() {
        Path model = changed(Fixture.MPT, config -> {});
        Fixture.damage(model, "transformer.wte.weight", 0, BFLOAT16_INFINITY);
        assertUserError(Code.NUMERIC, () -> open(model), "transformer.wte.weight", "1 of 20480");
    }

    private Path changed(String fixture, Consumer<ObjectNode> change) {
        return Fixture.copy(fixture, folder.resolve("model"), change);
    }

    private void open(Path model) {
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            Transformer.open(directory, device);
        }
    }

    /** x after block 0. */
    private float[] runBlock(String fixture, float[] values, InputTap tap) {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            Tensor x = TestDevices.upload(device, arena, values.length / HIDDEN, values);
            // Larger than most batches: a batch may be smaller than the workspace.
            Transformer.Workspace workspace = model.workspace(arena, 3 * LENGTH, LENGTH);
            model.forward(model.loadBlock(0, arena), x, workspace, tap);
            return TestDevices.download(device, x);
        }
    }

    private static float[] randomActivations(int sequences) {
        Random random = new Random(7);
        float[] values = new float[sequences * LENGTH * HIDDEN];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
