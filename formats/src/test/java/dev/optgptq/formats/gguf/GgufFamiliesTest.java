package dev.optgptq.formats.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.testing.GgufFile;
import dev.optgptq.formats.testing.SharedFiles;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** Tiny models of families, as transformers saved them: what stands where in the file, worked out here from convert_hf_to_gguf.py. */
class GgufFamiliesTest {

    private static final int HIDDEN = 64;
    private static final String TOKENIZER = """
            {"version":"1.0","added_tokens":[],"normalizer":null,
             "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
             "model":{"type":"BPE","vocab":{"<s>":0,"a":1,"b":2,"ab":3},"merges":[["a","b"]]}}""";

    @TempDir
    private Path folder = Path.of("");

    @Test
    void queries_and_keys_of_qwen3_stay_in_their_order_and_have_norms() throws IOException {
        Exported exported = export("qwen3");
        exported.assertRows("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", HIDDEN, row -> row);
        exported.assertRows("blk.1.attn_k_norm.weight", "model.layers.1.self_attn.k_norm.weight", 1, row -> row);
        assertEquals(32, exported.file.metadata().get("qwen3.attention.key_length"));
        assertEquals(32, exported.file.metadata().get("qwen3.rope.dimension_count"));
        assertEquals(2, exported.file.metadata().get("qwen3.attention.head_count_kv"));
    }

    @Test
    void qwen2_has_its_biases() throws IOException {
        Exported exported = export("qwen2");
        exported.assertRows("blk.1.attn_k.bias", "model.layers.1.self_attn.k_proj.bias", 1, row -> row);
        exported.assertRows("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight", HIDDEN, row -> row);
        assertEquals(10000f, exported.file.metadata().get("qwen2.rope.freq_base"));
    }

    @Test
    void heads_of_gpt_neox_become_queries_keys_and_values() throws IOException {
        Exported exported = export("gpt-neox");
        int width = 16;
        for (int columns : new int[] {HIDDEN, 1}) {
            String suffix = columns == 1 ? "bias" : "weight";
            exported.assertRows("blk.0.attn_qkv." + suffix, "gpt_neox.layers.0.attention.query_key_value." + suffix,
                    columns,
                    row -> {
                        int part = row / HIDDEN;
                        int head = row % HIDDEN / width;
                        return (head * 3 + part) * width + row % width;
                    });
        }
        assertEquals(4, exported.file.metadata().get("gptneox.rope.dimension_count"));
        assertEquals(true, exported.file.metadata().get("gptneox.use_parallel_residual"));
        assertEquals(160, exported.file.metadata().get("gptneox.feed_forward_length"));
    }

    @Test
    void weights_of_gpt2_are_turned_round() throws IOException {
        Exported exported = export("gpt2");
        float[] found = exported.file.floats("blk.0.attn_qkv.weight");
        float[] stored = exported.source("transformer.h.0.attn.c_attn.weight");
        for (int out = 0; out < 3 * HIDDEN; out++) {
            for (int in = 0; in < HIDDEN; in++) {
                assertEquals(half(stored[in * 3 * HIDDEN + out]), found[out * HIDDEN + in],
                        "out " + out + ", in " + in);
            }
        }
        exported.assertRows("position_embd.weight", "transformer.wpe.weight", HIDDEN, row -> row);
        assertEquals(256, exported.file.metadata().get("gpt2.feed_forward_length"));
    }

    @Test
    void frequencies_of_llama_3_are_divided_by_a_tensor() throws IOException {
        Exported exported = export("llama-gqa-rope-llama3");
        JsonNode rope = exported.config.path("rope_parameters");
        double factor = rope.path("factor").doubleValue();
        double low = rope.path("low_freq_factor").doubleValue();
        double high = rope.path("high_freq_factor").doubleValue();
        double context = rope.path("original_max_position_embeddings").doubleValue();
        float[] found = exported.file.floats("rope_freqs.weight");
        int width = 2 * found.length;
        assertEquals(width, exported.file.metadata().get("llama.rope.dimension_count"));
        for (int pair = 0; pair < found.length; pair++) {
            double frequency = 1 / Math.pow(rope.path("rope_theta").doubleValue(), 2.0 * pair / width);
            double wave = 2 * Math.PI / frequency;
            double expected;
            if (wave < context / high) {
                expected = 1;
            } else if (wave > context / low) {
                expected = factor;
            } else {
                double smooth = (context / wave - low) / (high - low);
                expected = 1 / ((1 - smooth) / factor + smooth);
            }
            assertEquals(expected, found[pair], 1e-6 * expected, "pair " + pair);
        }
    }

    private Exported export(String fixture) throws IOException {
        Path source = SharedFiles.require("fixtures/" + fixture);
        for (String name : new String[] {"config.json", "model.safetensors"}) {
            Files.copy(source.resolve(name), folder.resolve(name));
        }
        Files.writeString(folder.resolve("tokenizer.json"), TOKENIZER);
        try (ModelDirectory model = ModelDirectory.open(folder)) {
            GgufExport.write(model, folder.resolve("x.gguf"));
            return new Exported(GgufFile.read(folder.resolve("x.gguf")), folder, model.config().json());
        }
    }

    /** A row of the file to its row in the checkpoint. */
    private interface Rows {
        int source(int row);
    }

    private record Exported(GgufFile file, Path folder, JsonNode config) {

        void assertRows(String name, String tensor, int columns, Rows rows) {
            float[] found = file.floats(name);
            float[] stored = source(tensor);
            assertEquals(stored.length, found.length, name);
            for (int i = 0; i < found.length; i++) {
                float expected = stored[rows.source(i / columns) * columns + i % columns];
                assertEquals(columns == 1 ? expected : half(expected), found[i], name + " at " + i);
            }
        }

        float[] source(String tensor) {
            try (ModelDirectory model = ModelDirectory.open(folder)) {
                TensorView view = model.tensor(tensor);
                float[] values = new float[(int) view.shape().elements()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = switch (view.dtype()) {
                        case F32 -> view.data().get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i);
                        case F16 -> Floats.fromF16(view.data().get(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i));
                        case BF16 -> Floats.fromBF16(view.data().get(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i));
                        case BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, I32, U32, F64, I64, U64 ->
                            throw new AssertionError(view.dtype());
                    };
                }
                return values;
            }
        }
    }

    private static float half(float value) {
        return Floats.fromF16(Floats.toF16(value));
    }
}
