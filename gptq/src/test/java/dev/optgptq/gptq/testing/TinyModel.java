package dev.optgptq.gptq.testing;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.SequencedMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A random model of two blocks that a run takes well below a second for, in a folder with a made-up tokenizer. Its inner
 * width spans two tiles of every blocked op, and all widths are multiples of 128.
 *
 * @param family of its config and names
 * @param dtype of all its tensors
 * @param hidden width of the residual stream
 * @param kvHeads of llama; mpt has as many as query heads
 * @param tied whether there is no head beside the embedding table
 * @param biases whether mpt's linears and norms have biases; llama's never do here
 * @param shardBytes largest size of a weight file
 */
public record TinyModel(Family family, DType dtype, int hidden, int kvHeads, boolean tied, boolean biases,
        long shardBytes) {

    public static final int HIDDEN = 128;
    public static final int BLOCKS = 2;
    public static final int VOCABULARY = 288;
    private static final int HEADS = 4;
    private static final long SEED = 42;
    private static final JsonMapper JSON = new JsonMapper();
    /** Most tests write one of a few models; drawing the numbers took a third of that. */
    private static final Map<TinyModel, SequencedMap<String, float[]>> DRAWN = new ConcurrentHashMap<>();

    /** The two families of the first day. */
    public enum Family {
        LLAMA, MPT
    }

    public static final TinyModel LLAMA = new TinyModel(Family.LLAMA, DType.BF16, 2, false, false, Long.MAX_VALUE);
    public static final TinyModel MPT = new TinyModel(Family.MPT, DType.F16, HEADS, true, false, Long.MAX_VALUE);
    /** Its norms are layer norms with biases. */
    public static final TinyModel MPT_WITH_BIASES = new TinyModel(Family.MPT, DType.F16, HEADS, true, true,
            Long.MAX_VALUE);

    /** Of the usual width. */
    public TinyModel(Family family, DType dtype, int kvHeads, boolean tied, boolean biases, long shardBytes) {
        this(family, dtype, HIDDEN, kvHeads, tied, biases, shardBytes);
    }

    public static TinyModel of(Family family) {
        return switch (family) {
            case LLAMA -> LLAMA;
            case MPT -> MPT;
        };
    }

    public TinyModel withDtype(DType other) {
        return new TinyModel(family, other, hidden, kvHeads, tied, biases, shardBytes);
    }

    public TinyModel withTiedHead() {
        return new TinyModel(family, dtype, hidden, kvHeads, true, biases, shardBytes);
    }

    /** A head beside the embedding table: with a tied one a random model predicts each token to follow itself. */
    public TinyModel withOwnHead() {
        return new TinyModel(family, dtype, hidden, kvHeads, false, biases, shardBytes);
    }

    /** Half as wide, for devices that are emulated. */
    public TinyModel narrow() {
        return new TinyModel(family, dtype, HIDDEN / 2, kvHeads, tied, biases, shardBytes);
    }

    public TinyModel inShardsOf(long bytes) {
        return new TinyModel(family, dtype, hidden, kvHeads, tied, biases, bytes);
    }

    /** Width of the MLP. */
    public int inner() {
        return family == Family.LLAMA ? 3 * hidden : 2 * hidden;
    }

    /** Writes it to a new folder. */
    public Path write(Path folder) {
        return write(folder, (name, values) -> {});
    }

    /** @param edit hears of every tensor, row-major, before it is written, and may change it */
    public Path write(Path folder, BiConsumer<String, float[]> edit) {
        SequencedMap<String, int[]> shapes = shapes();
        List<TensorSpec> specs = new ArrayList<>();
        shapes.forEach((name, shape) -> specs.add(new TensorSpec(name, dtype,
                shape.length == 1 ? Shape.of(shape[0]) : Shape.of(shape[0], shape[1]))));
        SequencedMap<String, float[]> drawn = DRAWN.computeIfAbsent(withDtype(DType.F32).inShardsOf(0),
                TinyModel::draw);
        try (CheckpointWriter writer = new CheckpointWriter(folder, specs, shardBytes, false)) {
            drawn.forEach((name, values) -> {
                float[] edited = values.clone();
                edit.accept(name, edited);
                write(writer, name, edited);
            });
            writer.writeJson("config.json", config());
            Files.writeString(writer.workDirectory().resolve("tokenizer.json"), TinyTokenizer.json());
            Files.writeString(writer.workDirectory().resolve("tokenizer_config.json"), "{\"model_max_length\": 256}\n");
            Files.writeString(writer.workDirectory().resolve("generation_config.json"), "{\"eos_token_id\": 1}\n");
            Files.writeString(writer.workDirectory().resolve("README.md"), "About the source model.\n");
            writer.finish();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return folder;
    }

    private SequencedMap<String, float[]> draw() {
        Random random = new Random(SEED);
        SequencedMap<String, float[]> drawn = new LinkedHashMap<>();
        shapes().forEach((name, shape) -> drawn.put(name, random(random, name, shape)));
        return drawn;
    }

    /** Gaussian; inputs of the norms differ in size, so that act-order has something to order. */
    private static float[] random(Random random, String name, int[] shape) {
        boolean norm = shape.length == 1;
        float[] values = new float[norm ? shape[0] : shape[0] * shape[1]];
        boolean embedding = name.contains("embed") || name.contains("wte");
        for (int i = 0; i < values.length; i++) {
            double gaussian = random.nextGaussian();
            values[i] = (float) (name.endsWith(".bias")
                    ? 0.1 * gaussian
                    : norm ? Math.exp(0.7 * gaussian) : embedding ? gaussian : 0.06 * gaussian);
        }
        return values;
    }

    private void write(CheckpointWriter writer, String name, float[] values) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate((long) values.length * dtype.bytes());
            for (int i = 0; i < values.length; i++) {
                switch (dtype) {
                    case F16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, Floats.toF16(values[i]));
                    case BF16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, Floats.toBF16(values[i]));
                    case F32 -> bytes.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, values[i]);
                    default -> throw new IllegalArgumentException("models are F16, BF16 or F32, not " + dtype);
                }
            }
            writer.write(name, bytes);
        }
    }

    private SequencedMap<String, int[]> shapes() {
        SequencedMap<String, int[]> shapes = new LinkedHashMap<>();
        switch (family) {
            case LLAMA -> {
                int kv = hidden / HEADS * kvHeads;
                shapes.put("model.embed_tokens.weight", new int[] {VOCABULARY, hidden});
                for (int block = 0; block < BLOCKS; block++) {
                    String in = "model.layers." + block + ".";
                    shapes.put(in + "input_layernorm.weight", new int[] {hidden});
                    shapes.put(in + "self_attn.q_proj.weight", new int[] {hidden, hidden});
                    shapes.put(in + "self_attn.k_proj.weight", new int[] {kv, hidden});
                    shapes.put(in + "self_attn.v_proj.weight", new int[] {kv, hidden});
                    shapes.put(in + "self_attn.o_proj.weight", new int[] {hidden, hidden});
                    shapes.put(in + "post_attention_layernorm.weight", new int[] {hidden});
                    shapes.put(in + "mlp.gate_proj.weight", new int[] {inner(), hidden});
                    shapes.put(in + "mlp.up_proj.weight", new int[] {inner(), hidden});
                    shapes.put(in + "mlp.down_proj.weight", new int[] {hidden, inner()});
                }
                shapes.put("model.norm.weight", new int[] {hidden});
                if (!tied) {
                    shapes.put("lm_head.weight", new int[] {VOCABULARY, hidden});
                }
            }
            case MPT -> {
                shapes.put("transformer.wte.weight", new int[] {VOCABULARY, hidden});
                for (int block = 0; block < BLOCKS; block++) {
                    String in = "transformer.blocks." + block + ".";
                    shapes.put(in + "norm_1.weight", new int[] {hidden});
                    shapes.put(in + "attn.Wqkv.weight", new int[] {3 * hidden, hidden});
                    shapes.put(in + "attn.out_proj.weight", new int[] {hidden, hidden});
                    shapes.put(in + "norm_2.weight", new int[] {hidden});
                    shapes.put(in + "ffn.up_proj.weight", new int[] {inner(), hidden});
                    shapes.put(in + "ffn.down_proj.weight", new int[] {hidden, inner()});
                }
                shapes.put("transformer.norm_f.weight", new int[] {hidden});
                if (biases) {
                    addBiases(shapes);
                }
                if (!tied) {
                    shapes.put("lm_head.weight", new int[] {VOCABULARY, hidden});
                }
            }
        }
        return shapes;
    }

    /** To all but the embedding table, one value for each row. */
    private static void addBiases(SequencedMap<String, int[]> shapes) {
        for (String weight : List.copyOf(shapes.keySet())) {
            if (!weight.contains("wte")) {
                shapes.put(weight.replace(".weight", ".bias"),
                        new int[] {Objects.requireNonNull(shapes.get(weight))[0]});
            }
        }
    }

    private ObjectNode config() {
        String text = switch (family) {
            case LLAMA -> """
                    {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
                     "hidden_size": %d, "intermediate_size": %d, "num_attention_heads": %d, "num_key_value_heads": %d,
                     "num_hidden_layers": %d, "vocab_size": %d, "max_position_embeddings": 256, "rms_norm_eps": 1e-06,
                     "hidden_act": "silu", "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
                     "tie_word_embeddings": %b}"""
                    .formatted(hidden, inner(), HEADS, kvHeads, BLOCKS, VOCABULARY, tied);
            case MPT -> """
                    {"architectures": ["MPTForCausalLM"], "model_type": "mpt", "torch_dtype": "float32",
                     "d_model": %d, "expansion_ratio": %d, "n_heads": %d, "n_layers": %d, "vocab_size": %d,
                     "max_seq_len": 256, "no_bias": %b, "norm_type": "low_precision_layernorm",
                     "attn_config": {"alibi": true, "alibi_bias_max": 8, "attn_type": "multihead_attention"},
                     "tie_word_embeddings": %b}"""
                    .formatted(hidden, inner() / hidden, HEADS, BLOCKS, VOCABULARY, !biases, tied);
        };
        return (ObjectNode) JSON.readTree(text);
    }
}
