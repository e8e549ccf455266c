package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.testing.ModelLogits;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Sources whose weights are small floats with scales count as what those stand for, and become the same checkpoint. */
class ScaledSourceTest {

    private static final int HIDDEN = 64;
    private static final int VOCABULARY = 64;
    private static final String QWEN3 = """
            {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 1,
             "vocab_size": 64, "max_position_embeddings": 64, "tie_word_embeddings": true%s}""";
    private static final String FP8 = """
            , "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                      "weight_block_size": [40, 48]}""";
    private static final String GPT_OSS = """
            {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 64, "intermediate_size": 32,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 2,
             "num_local_experts": 3, "num_experts_per_tok": 2, "vocab_size": 64, "max_position_embeddings": 64,
             "sliding_window": 8%s}""";
    private static final String MXFP4 = """
            , "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}""";

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void fp8_with_a_scale_for_each_block_is_what_it_stands_for() {
        try (Arena arena = Arena.ofShared()) {
            ScaledModels models = new ScaledModels(arena);
            String in = "model.layers.0.";
            attention(models, in, false);
            for (String norm : new String[] {"q_norm", "k_norm"}) {
                models.tensor(in + "self_attn." + norm + ".weight", 1, 16);
            }
            models.fp8(in + "mlp.gate_proj.weight", 96, HIDDEN, 40, 48);
            models.fp8(in + "mlp.up_proj.weight", 96, HIDDEN, 40, 48);
            models.fp8(in + "mlp.down_proj.weight", HIDDEN, 96, 40, 48);
            outside(models);

            assertSame(models.plain(QWEN3.formatted("")), models.scaled(QWEN3.formatted(FP8)));
        }
    }

    @Test
    void mxfp4_experts_are_what_they_stand_for() {
        try (Arena arena = Arena.ofShared()) {
            ScaledModels models = new ScaledModels(arena);
            for (int block = 0; block < 2; block++) {
                String in = "model.layers." + block + ".";
                attention(models, in, true);
                models.tensor(in + "self_attn.sinks", 0, 4);
                models.tensor(in + "mlp.router.weight", 0, 3, HIDDEN);
                models.tensor(in + "mlp.router.bias", 0, 3);
                models.mxfp4(in + "mlp.experts.gate_up_proj", 3, 64, HIDDEN);
                models.tensor(in + "mlp.experts.gate_up_proj_bias", 0, 3, 64);
                models.mxfp4(in + "mlp.experts.down_proj", 3, HIDDEN, 32);
                models.tensor(in + "mlp.experts.down_proj_bias", 0, 3, HIDDEN);
            }
            models.tensor("lm_head.weight", 0, VOCABULARY, HIDDEN);
            outside(models);

            assertSame(models.plain(GPT_OSS.formatted("")), models.scaled(GPT_OSS.formatted(MXFP4)));
        }
    }

    private static void attention(ScaledModels models, String in, boolean biases) {
        models.tensor(in + "input_layernorm.weight", 1, HIDDEN);
        models.tensor(in + "post_attention_layernorm.weight", 1, HIDDEN);
        for (String part : new String[] {"q", "k", "v", "o"}) {
            int outputs = part.equals("k") || part.equals("v") ? HIDDEN / 2 : HIDDEN;
            String linear = in + "self_attn." + part + "_proj.";
            if (biases) {
                models.tensor(linear + "weight", 0, outputs, HIDDEN);
                models.tensor(linear + "bias", 0, outputs);
            } else {
                models.fp8(linear + "weight", outputs, HIDDEN, 40, 48);
            }
        }
    }

    private static void outside(ScaledModels models) {
        models.tensor("model.norm.weight", 1, HIDDEN);
        models.tensor("model.embed_tokens.weight", 0, VOCABULARY, HIDDEN);
    }

    private void assertSame(ModelDirectory plain, ModelDirectory scaled) {
        int[] ids = new SplittableRandom(ScaledModels.SEED).ints(6 * 32, 0, VOCABULARY).toArray();
        TokenSequences text = new TokenSequences(ids, 6, 32);
        try (Device device = Devices.open("cpu", 2)) {
            assertArrayEquals(ModelLogits.of(plain, text, device), ModelLogits.of(scaled, text, device));

            assertEquals(quantized(plain, "plain", text, device), quantized(scaled, "scaled", text, device));
        }
    }

    /** The checksum of the tensors that are written; they are read back as the program does. */
    private long quantized(ModelDirectory model, String name, TokenSequences text, Device device) {
        TinyRun run = new TinyRun(Path.of("memory"), folder);
        run.output = folder.resolve(name);
        run.samples = text.count();
        run.sequenceLength = text.length();
        QuantizeRun.measure(run.settings(), model, text, DeviceGroup.of(device), TinyRun.ORIGIN, Progress.SILENT,
                line -> {});
        assertTrue(Files.isRegularFile(run.output.resolve("model.safetensors")));
        try (ModelDirectory written = ModelDirectory.open(run.output)) {
            Transformer.open(written, device);
        }
        return Objects.requireNonNull(Checksums.of(run.output).get("model.safetensors"));
    }
}
