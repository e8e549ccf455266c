package dev.optgptq.formats.gguf;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.testing.GgufFile;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A model of one block, hidden size 64, 2 heads of 32 and 1 KV head, written and decoded by the specification. */
class GgufExportTest {

    private static final int HIDDEN = 64;
    private static final String MODULE = "model.layers.0.self_attn.q_proj";
    private static final String LLAMA = """
            {"model_type":"llama","hidden_size":64,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,
             "intermediate_size":96,"vocab_size":8,"max_position_embeddings":128,"rms_norm_eps":1e-5,"hidden_act":"silu",
             "bos_token_id":0,"eos_token_id":[1,2],"tie_word_embeddings":true,
             "rope_parameters":{"rope_type":"default","rope_theta":500000.0},
             "quantization_config":{"quant_method":"gptq","bits":%d,"group_size":%d,"sym":%s,"desc_act":%s,
               "checkpoint_format":"gptq_v2"}}""";
    private static final String TOKENIZER = """
            {"version":"1.0","added_tokens":[{"id":0,"content":"<s>","special":true},{"id":5,"content":"<x>","special":false}],
             "normalizer":null,
             "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
             "model":{"type":"BPE","vocab":{"<s>":0,"a":1,"b":2,"ab":3,"\u0120":4},"merges":[["a","b"]]}}""";

    private final Map<TensorSpec, MemorySegment> tensors = new LinkedHashMap<>();
    private final Random random = new Random(11);

    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({"4, 32, true, 2", "4, 64, true, 2", "4, -1, true, 2", "3, 32, true, 2", "2, 32, true, 2",
            "8, 32, true, 8",
            "4, 32, false, 3", "3, 64, false, 3"})
    void a_packed_linear_is_the_same_matrix_in_the_file(int bits, int groupSize, boolean symmetric, int type)
            throws IOException {
        float[][] expected = packed(bits, groupSize, symmetric);
        GgufFile file = export(bits, groupSize, symmetric);

        assertEquals(new GgufFile.Tensor(List.of(64L, 64L), type, offset(file)),
                file.tensor("blk.0.attn_q.weight"));
        float[] found = file.floats("blk.0.attn_q.weight");
        for (int row = 0; row < HIDDEN; row++) {
            float[] wanted = expected[permuted(row)];
            for (int column = 0; column < HIDDEN; column++) {
                float allowed = symmetric ? 0 : 0.0074f * 0.02f;
                assertEquals(wanted[column], found[row * HIDDEN + column], allowed,
                        "row " + row + ", column " + column);
            }
        }
    }

    /** convert_hf_to_gguf.py: reshape(heads, 2, headDim / 2).swapaxes(1, 2). */
    private static int permuted(int row) {
        int head = row / 32;
        int pair = row % 32 / 2;
        return head * 32 + row % 2 * 16 + pair;
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void the_fast_way_for_4_bits_gives_the_bytes_of_the_definition(long seed) {
        int inputs = 32 * (int) (1 + seed * 3);
        int outputs = 32 * (int) (1 + seed * 2);
        Random bytes = new Random(seed);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment qweight = filled(arena, 4L * inputs / 8 * outputs, bytes);
            MemorySegment qzeros = arena.allocate(4L * (inputs / 32) * outputs / 8, 4).fill((byte) 0x88);
            MemorySegment scales = filled(arena, 2L * (inputs / 32) * outputs, bytes);
            PackedLinear linear = new PackedLinear(4, inputs, outputs, inputs / 32, 0, qweight, qzeros, scales,
                    arena.allocate(4));
            long size = (long) outputs * inputs / 32 * 18;
            MemorySegment fast = arena.allocate(size);
            MemorySegment defined = arena.allocate(size);
            GgufRows.Rows rows = new GgufRows.Rows(outputs, row -> row * 11 % outputs);
            int cut = 3;
            PackedBlocks.putWords(linear, rows, 0, cut, fast);
            PackedBlocks.putWords(linear, rows, cut, outputs, fast.asSlice(size / outputs * cut));
            PackedBlocks.put(linear, GgufType.Q4_0, rows, defined);
            assertEquals(-1, fast.mismatch(defined), "seed " + seed);
        }
    }

    private static MemorySegment filled(Arena arena, long bytes, Random random) {
        byte[] content = new byte[(int) bytes];
        random.nextBytes(content);
        return arena.allocate(bytes, 8).copyFrom(MemorySegment.ofArray(content));
    }

    @Test
    void the_metadata_is_what_llama_cpp_asks_for() throws IOException {
        packed(4, 32, true);
        Map<String, Object> metadata = export(4, 32, true).metadata();
        Map<String, Object> expected = Map.ofEntries(Map.entry("general.architecture", "llama"),
                Map.entry("general.file_type", 2), Map.entry("llama.context_length", 128),
                Map.entry("llama.embedding_length", 64), Map.entry("llama.block_count", 1),
                Map.entry("llama.feed_forward_length", 96), Map.entry("llama.attention.head_count", 2),
                Map.entry("llama.attention.head_count_kv", 1),
                Map.entry("llama.attention.layer_norm_rms_epsilon", 1e-5f),
                Map.entry("llama.rope.freq_base", 500000f), Map.entry("llama.rope.dimension_count", 32),
                Map.entry("llama.vocab_size", 8), Map.entry("tokenizer.ggml.model", "gpt2"),
                Map.entry("tokenizer.ggml.pre", "gpt-2"), Map.entry("tokenizer.ggml.merges", List.of("a b")),
                Map.entry("tokenizer.ggml.bos_token_id", 0), Map.entry("tokenizer.ggml.eos_token_id", 1),
                Map.entry("tokenizer.ggml.tokens", List.of("<s>", "a", "b", "ab", "\u0120", "<x>", "[PAD6]", "[PAD7]")),
                Map.entry("tokenizer.ggml.token_type", List.of(3, 1, 1, 1, 1, 4, 5, 5)));
        expected.forEach((key, value) -> assertEquals(value, metadata.get(key), key));
    }

    @Test
    void what_is_not_quantized_is_float16_and_vectors_are_float32() throws IOException {
        packed(4, 32, true);
        GgufFile file = export(4, 32, true);
        assertEquals(List.of(64L), file.tensor("output_norm.weight").dimensions());
        assertEquals(0, file.tensor("output_norm.weight").type());
        assertEquals(List.of(64L, 8L), file.tensor("token_embd.weight").dimensions());
        assertEquals(1, file.tensor("token_embd.weight").type());
        float[] table = new float[8 * HIDDEN];
        for (int i = 0; i < table.length; i++) {
            table[i] = Floats.fromF16(Floats.toF16(Floats.fromBF16((short) (0x3c00 + i))));
        }
        assertArrayEquals(table, file.floats("token_embd.weight"));
    }

    @Test
    void what_a_block_cannot_say_is_refused_with_the_rule() throws IOException {
        packed(4, 16, true);
        assertRefused(4, 16, true, MODULE, "a multiple of 32 inputs", "found groups of 16", "--group-size 32");
        tensors.clear();
        packed(8, 32, false);
        assertRefused(8, 32, false, MODULE, "a symmetric grid at 8 bits", "--symmetric");
        tensors.clear();
        packed(4, 32, true);
        tensors.entrySet().stream().filter(entry -> entry.getKey().name().endsWith("g_idx")).forEach(entry -> {
            entry.getValue().setAtIndex(ValueLayout.JAVA_INT, 0, 1);
            entry.getValue().setAtIndex(ValueLayout.JAVA_INT, 63, 0);
        });
        assertRefused(4, 32, true, MODULE, "an activation order", "--act-order");
    }

    @Test
    void a_tensor_that_the_architecture_does_not_have_is_refused_by_name() throws IOException {
        packed(4, 32, true);
        put("model.layers.0.self_attn.q_norm.weight", DType.BF16, 64);
        assertRefused(4, 32, true, "model.layers.0.self_attn.q_norm", "'llama'");
    }

    @Test
    void a_model_whose_head_is_missing_is_refused() throws IOException {
        packed(4, 32, true);
        plain();
        write(LLAMA.formatted(4, 32, true, true).replace("\"tie_word_embeddings\":true",
                "\"tie_word_embeddings\":false"));
        assertUserError(Code.BAD_MODEL, this::export, "tie_word_embeddings is false");
        assertFalse(Files.exists(folder.resolve("x.gguf")));
    }

    @Test
    void a_tokenizer_that_splits_in_another_way_is_refused() throws IOException {
        packed(4, 32, true);
        plain();
        write(LLAMA.formatted(4, 32, true, true));
        Files.writeString(folder.resolve("tokenizer.json"),
                TOKENIZER.replace("\"add_prefix_space\":false", "\"add_prefix_space\":true"));
        assertUserError(Code.UNSUPPORTED_MODEL, this::export, "tokenizer.json", "splits words");
        assertFalse(Files.exists(folder.resolve("x.gguf")));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            "\"model_type\":\"llama\"|\"model_type\":\"opt\"|model_type",
            "\"hidden_act\":\"silu\"|\"hidden_act\":\"gelu\"|'hidden_act'",
            "\"rope_type\":\"default\"|\"rope_type\":\"dynamic\"|rotary scaling"})
    void a_config_that_gguf_cannot_say_is_refused_with_its_key(String was, String is, String said) throws IOException {
        packed(4, 32, true);
        plain();
        write(LLAMA.formatted(4, 32, true, true).replace(was, is));
        assertUserError(Code.UNSUPPORTED_MODEL, this::export, "config.json", said);
    }

    private void assertRefused(int bits, int groupSize, boolean symmetric, String... fragments) throws IOException {
        plain();
        write(LLAMA.formatted(bits, groupSize, symmetric, true));
        assertUserError(Code.UNSUPPORTED_MODEL, this::export, fragments);
    }

    private GgufFile export(int bits, int groupSize, boolean symmetric) throws IOException {
        plain();
        write(LLAMA.formatted(bits, groupSize, symmetric, true));
        assertTrue(export().bytes() > 0);
        return GgufFile.read(folder.resolve("x.gguf"));
    }

    private GgufExport.Summary export() {
        try (ModelDirectory model = ModelDirectory.open(folder)) {
            return GgufExport.write(model, folder.resolve("x.gguf"));
        }
    }

    private static long offset(GgufFile file) {
        return file.tensor("blk.0.attn_q.weight").offset();
    }

    /** The q projection, packed: its weights by the definition, [output][input]. */
    private float[][] packed(int bits, int groupSize, boolean symmetric) {
        PackedLayout layout = new PackedLayout(MODULE, bits, groupSize, HIDDEN, HIDDEN);
        int groups = layout.groups();
        int[] zeros = new int[groups * HIDDEN];
        short[] scales = new short[groups * HIDDEN];
        byte[] codes = new byte[HIDDEN * HIDDEN];
        int[] gIdx = new int[HIDDEN];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) random.nextInt(1 << bits);
        }
        for (int i = 0; i < zeros.length; i++) {
            zeros[i] = symmetric ? 1 << (bits - 1) : random.nextInt(1 << bits);
            scales[i] = Floats.toF16((random.nextFloat() - 0.5f) * 0.04f);
        }
        for (int i = 0; i < HIDDEN; i++) {
            gIdx[i] = groupSize == -1 ? 0 : i / groupSize;
        }
        int[] qweight = new int[(int) layout.qweight().shape().elements()];
        int[] qzeros = new int[(int) layout.qzeros().shape().elements()];
        Packing.packWeights(MemorySegment.ofArray(codes), bits, HIDDEN, HIDDEN, MemorySegment.ofArray(qweight));
        Packing.packZeros(MemorySegment.ofArray(zeros), bits, groups, HIDDEN, 0, MemorySegment.ofArray(qzeros));
        tensors.put(layout.qweight(), MemorySegment.ofArray(qweight));
        tensors.put(layout.qzeros(), MemorySegment.ofArray(qzeros));
        tensors.put(layout.scales(), MemorySegment.ofArray(scales));
        tensors.put(layout.gIdx(), MemorySegment.ofArray(gIdx));
        float[][] weights = new float[HIDDEN][HIDDEN];
        for (int output = 0; output < HIDDEN; output++) {
            for (int input = 0; input < HIDDEN; input++) {
                int group = gIdx[input] * HIDDEN + output;
                weights[output][input] = Floats.fromF16(scales[group])
                        * ((codes[input * HIDDEN + output] & 0xff) - zeros[group]);
            }
        }
        return weights;
    }

    private void plain() {
        put("model.embed_tokens.weight", DType.BF16, 8, HIDDEN);
        put("model.norm.weight", DType.BF16, HIDDEN);
        put("model.layers.0.input_layernorm.weight", DType.F32, HIDDEN);
        put("model.layers.0.self_attn.k_proj.weight", DType.BF16, 32, HIDDEN);
        put("model.layers.0.self_attn.rotary_emb.inv_freq", DType.F32, 16);
    }

    private void put(String name, DType dtype, long... shape) {
        TensorSpec spec = new TensorSpec(name, dtype, Shape.of(shape));
        byte[] bytes = new byte[(int) spec.bytes()];
        MemorySegment data = MemorySegment.ofArray(bytes);
        for (int i = 0; i < spec.shape().elements(); i++) {
            if (dtype == DType.BF16) {
                data.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i, (short) (0x3c00 + i));
            } else {
                data.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i, i);
            }
        }
        tensors.put(spec, data);
    }

    private void write(String config) throws IOException {
        Files.writeString(folder.resolve("config.json"), config);
        Files.writeString(folder.resolve("tokenizer.json"), TOKENIZER);
        try (SafetensorsWriter writer = new SafetensorsWriter(folder.resolve("model.safetensors"),
                List.copyOf(tensors.keySet()), Map.of())) {
            tensors.forEach((spec, data) -> writer.write(spec.name(), data));
            writer.finish();
        }
    }
}
