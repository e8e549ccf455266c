package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.testing.Failures;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.gptq.testing.ModelLogits;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Checkpoints whose tensors stand under another prefix than the family's class gives them are the same models. */
class TensorPrefixTest {

    private static final JsonMapper JSON = new JsonMapper();
    private static final String TOWER = "model.visual.patch_embed.weight";

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"gpt2,transformer.", "bloom,transformer.", "opt,model.", "opt-gqa,model."})
    void a_model_saved_without_its_heads_class_is_the_same(String fixture, String prefix) {
        assertSame(fixture, name -> name.startsWith(prefix) ? name.substring(prefix.length()) : name, false);
    }

    @ParameterizedTest
    @CsvSource({"model.language_model.,''", "language_model.model.,language_model."})
    void the_text_part_of_a_model_of_more_is_the_model_of_text(String prefix, String beforeHead) {
        assertSame("qwen3", name -> name.startsWith("model.")
                ? prefix + name.substring("model.".length())
                : beforeHead + name, true);
    }

    @Test
    void what_is_not_text_is_kept_as_it_is_and_named_in_a_warning() {
        withRenamed("qwen3", TensorPrefixTest::within, true, (model, ids, device) -> {
            ModelSpec spec = ModelSpec.resolve(model);
            assertEquals(1, spec.remarks().size(), spec.remarks()::toString);
            assertTrue(spec.remarks().getFirst().contains("of a seeing model"), spec.remarks()::toString);
            TinyRun run = new TinyRun(Path.of("memory"), folder);
            run.samples = ids.count();
            run.sequenceLength = ids.length();

            QuantizeRun.measure(run.settings(), model, ids, DeviceGroup.of(device), TinyRun.ORIGIN, Progress.SILENT,
                    line -> {});

            try (ModelDirectory written = ModelDirectory.open(run.output)) {
                Transformer.open(written, device);
                assertEquals(-1, model.tensor(TOWER).data().mismatch(written.tensor(TOWER).data()));
                assertTrue(written.packed("model.language_model.layers.0.mlp.up_proj").isPresent());
                assertEquals("model.language_model.layers",
                        written.config().text("quantization_config.block_name_to_quantize"));
                assertEquals("qwen3", written.config().text("text_config.model_type"));
            }
        });
    }

    @Test
    void a_tensor_that_text_does_not_have_is_refused_within_it() {
        withRenamed("qwen3", name -> within(name).replace("0.self_attn.q_norm", "0.self_attn.sinks"), true,
                (model, ids, device) -> Failures.assertUserError(UserError.Code.BAD_MODEL,
                        () -> Transformer.open(model, device),
                        "model.language_model.layers.0.self_attn.q_norm.weight"));
    }

    private static String within(String name) {
        return name.startsWith("model.") ? "model.language_model." + name.substring("model.".length()) : name;
    }

    private interface Use {
        void with(ModelDirectory model, TokenSequences ids, Device device);
    }

    private void assertSame(String fixture, UnaryOperator<String> rename, boolean withMore) {
        withRenamed(fixture, rename, withMore, (model, ids, device) -> {
            try (ModelDirectory original = ModelDirectory.open(SharedFiles.require("fixtures/" + fixture))) {
                assertArrayEquals(ModelLogits.of(original, ids, device), ModelLogits.of(model, ids, device));
            }
        });
    }

    /** @param withMore whether text is a part of it, beside which there is a tensor of something else */
    private static void withRenamed(String fixture, UnaryOperator<String> rename, boolean withMore, Use use) {
        Path path = SharedFiles.require("fixtures/" + fixture);
        try (ModelDirectory original = ModelDirectory.open(path);
                Arena arena = Arena.ofShared();
                Device device = Devices.open("cpu", 2)) {
            SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
            original.tensors().values().forEach(view -> {
                String name = rename.apply(view.name());
                tensors.put(name, new TensorView(name, view.dtype(), view.shape(), view.data(), view.file()));
            });
            ObjectNode config = (ObjectNode) original.config().json();
            if (withMore) {
                tensors.put(TOWER, new TensorView(TOWER, DType.F32, Shape.of(2, 2),
                        arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4), path.resolve("model.safetensors")));
                ObjectNode whole = JSON.createObjectNode();
                whole.put("model_type", "seeing");
                whole.set("text_config", config.deepCopy().without("tie_word_embeddings"));
                whole.set("tie_word_embeddings", Objects.requireNonNull(config.get("tie_word_embeddings")));
                config = whole;
            }
            TokenSequences ids = InputIds.read(path.resolve("golden.safetensors"),
                    ModelSpec.resolve(original).vocabSize());
            use.with(ModelDirectory.inMemory(path, new ModelConfig(config, path.resolve("config.json")), tensors), ids,
                    device);
        }
    }
}
