package dev.optgptq.gptq.convert.layout;

import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * The form with fused rows of queries, keys and values and a GELU between the MLP's matrices: an opt_gqa model with ALiBi, LayerNorm
 * and a plain MLP as a directory of the family mpt, which llama.cpp serves, in memory. MPT's activation is GELU: ReLU becomes
 * GELU(s x) / s, s a power of two that goes into the MLP's weights, which errs by at most 0.17 / s. GELU by tanh (bloom) becomes GELU, which
 * is at most 4.8e-4 away; llama.cpp computes mpt by tanh.
 */
public final class FusedGeluLayout implements AutoCloseable {

    private static final List<String> KEPT = List.of("bos_token_id", "eos_token_id", "pad_token_id", "dtype",
            "torch_dtype", "initializer_range", "tokenizer_class");
    /** s; smaller in float16, where weights that are divided by it come near to the least normal number. */
    private static final double WIDE = 128;
    private static final double NARROW = 64;

    private static final Map<String, String> MODULES = Map.of("input_layernorm", "norm_1",
            "post_attention_layernorm", "norm_2", "self_attn.o_proj", "attn.out_proj", "mlp.up_proj", "ffn.up_proj",
            "mlp.down_proj", "ffn.down_proj");

    private final Arena arena = Arena.ofShared();
    private final ModelDirectory source;
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
    private final boolean relu;
    private final ModelDirectory directory;

    /** Throws UserError UNSUPPORTED_MODEL where mpt has no room for something of the source, an opt_gqa directory. */
    public FusedGeluLayout(ModelDirectory source) {
        this.source = source;
        JsonNode config = source.config().json();
        check(config);
        this.relu = config.path("hidden_act").asString().equals("relu");
        put("transformer.wte.weight", source.tensor("model.embed_tokens.weight"));
        for (int block = 0; block < config.path("num_hidden_layers").asInt(); block++) {
            block("model.layers." + block + ".", "transformer.blocks." + block + ".");
        }
        move("model.norm", "transformer.norm_f");
        move("lm_head", "lm_head");
        this.directory = ModelDirectory.inMemory(source.path(),
                new ModelConfig(mpt(config), source.config().file()), tensors);
    }

    /** The model; valid until this is closed. */
    public ModelDirectory directory() {
        return directory;
    }

    private void check(JsonNode config) {
        boolean bias = config.path("attention_bias").asBoolean();
        refuse(!config.path("position_type").asString().equals("alibi"), "positions other than ALiBi");
        refuse(config.path("alibi_bias_max").asInt() != 8, "ALiBi with another largest bias than 8");
        refuse(!hasStandardSlopes(config), "ALiBi with slopes other than those of the paper");
        refuse(!config.path("norm_type").asString().equals("layer_norm"), "RMS norms");
        refuse(config.path("layer_norm_eps").asDouble() != 1e-5, "another eps of its norms than 1e-5");
        refuse(!config.path("mlp_type").asString().equals("plain"), "a gated MLP");
        refuse(!List.of("relu", "gelu", "gelu_pytorch_tanh").contains(config.path("hidden_act").asString()),
                "an activation other than ReLU and GELU");
        refuse(config.path("head_dim").asInt() * config.path("num_attention_heads").asInt() != config
                .path("hidden_size").asInt(), "heads that are not as wide together as the model");
        refuse(config.path("intermediate_size").asInt() % config.path("hidden_size").asInt() != 0,
                "an MLP that is no multiple of the model's width");
        for (String other : List.of("attention_output_bias", "mlp_bias", "norm_bias")) {
            refuse(config.path(other).asBoolean() != bias, "biases of some layers alone");
        }
    }

    private static boolean hasStandardSlopes(JsonNode config) {
        float[] standard = AttentionParts.Positions.alibi(8, config.path("num_attention_heads").asInt());
        JsonNode stated = config.path("alibi_slopes");
        return !stated.isArray() || IntStream.range(0, standard.length)
                .allMatch(head -> (float) stated.path(head).asDouble(0) == standard[head]);
    }

    private void refuse(boolean holds, String what) {
        if (holds) {
            throw new UserError(Code.UNSUPPORTED_MODEL, source.path() + ": --layout mpt: mpt has no room for " + what
                    + "; leave --layout out to write it as opt_gqa");
        }
    }

    private void block(String from, String to) {
        for (String kind : List.of(".weight", ".bias")) {
            if (source.tensors().containsKey(from + "self_attn.q_proj" + kind)) {
                stack(to + "attn.Wqkv" + kind, List.of(source.tensor(from + "self_attn.q_proj" + kind),
                        source.tensor(from + "self_attn.k_proj" + kind),
                        source.tensor(from + "self_attn.v_proj" + kind)));
            }
        }
        MODULES.forEach((module, name) -> move(from + module, to + name));
        if (relu) {
            for (String kind : List.of(".weight", ".bias")) {
                scale(to + "ffn.up_proj" + kind, true);
            }
            scale(to + "ffn.down_proj.weight", false);
        }
    }

    private void move(String from, String to) {
        for (String kind : List.of(".weight", ".bias")) {
            TensorView view = source.tensors().get(from + kind);
            if (view != null) {
                put(to + kind, view);
            }
        }
    }

    private void put(String name, TensorView view) {
        tensors.put(name, new TensorView(name, view.dtype(), view.shape(), view.data(), view.file()));
    }

    /** Matrices or vectors of one dtype, one under the other. */
    private void stack(String name, List<TensorView> parts) {
        long bytes = parts.stream().mapToLong(part -> part.data().byteSize()).sum();
        long rows = parts.stream().mapToLong(part -> part.shape().dimension(0)).sum();
        MemorySegment all = arena.allocate(bytes, Double.BYTES);
        long at = 0;
        for (TensorView part : parts) {
            MemorySegment.copy(part.data(), 0, all, at, part.data().byteSize());
            at += part.data().byteSize();
        }
        TensorView first = parts.getFirst();
        Shape shape = first.shape().rank() == 1 ? Shape.of(rows) : Shape.of(rows, first.shape().dimension(1));
        tensors.put(name, new TensorView(name, first.dtype(), shape, all, first.file()));
    }

    /** By s, or by 1 / s: a power of two changes exponents alone. */
    private void scale(String name, boolean up) {
        TensorView view = tensors.get(name);
        if (view == null) {
            return;
        }
        double s = view.dtype() == DType.F16 ? NARROW : WIDE;
        MemorySegment scaled = arena.allocate(view.data().byteSize(), Double.BYTES);
        for (long i = 0; i < view.shape().elements(); i++) {
            double value = StoredFloats.get(view.data(), view.dtype(), i);
            StoredFloats.set(scaled, view.dtype(), i, up ? value * s : value / s);
        }
        tensors.put(name, new TensorView(name, view.dtype(), view.shape(), scaled, view.file()));
    }

    private static ObjectNode mpt(JsonNode from) {
        ObjectNode config = JsonMapper.shared().createObjectNode();
        config.putArray("architectures").add("MPTForCausalLM");
        config.put("model_type", "mpt");
        config.set("vocab_size", from.path("vocab_size"));
        config.set("d_model", from.path("hidden_size"));
        config.set("n_heads", from.path("num_attention_heads"));
        config.set("n_layers", from.path("num_hidden_layers"));
        config.put("expansion_ratio", from.path("intermediate_size").asInt() / from.path("hidden_size").asInt());
        config.set("max_seq_len", from.path("max_position_embeddings"));
        config.put("no_bias", !from.path("attention_bias").asBoolean());
        config.put("norm_type", "low_precision_layernorm");
        config.put("layer_norm_epsilon", from.path("layer_norm_eps").asDouble());
        config.set("tie_word_embeddings", from.path("tie_word_embeddings"));
        ObjectNode attention = config.putObject("attn_config");
        attention.put("attn_type", "grouped_query_attention");
        attention.set("kv_n_heads", from.path("num_key_value_heads"));
        attention.put("alibi", true);
        attention.put("alibi_bias_max", 8);
        KEPT.forEach(key -> {
            if (from.has(key)) {
                config.set(key, from.path(key));
            }
        });
        return config;
    }

    @Override
    public void close() {
        arena.close();
    }
}
