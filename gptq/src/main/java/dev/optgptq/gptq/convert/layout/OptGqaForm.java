package dev.optgptq.gptq.convert.layout;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.family.RotaryScaling;
import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layout.OptGqaLayout.Positions;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.util.List;
import java.util.Objects;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** What config.json of an opt_gqa model can say, and what it cannot. */
final class OptGqaForm {

    private static final double MAX_BIAS = 8;
    private static final List<String> KEPT = List.of("bos_token_id", "eos_token_id", "pad_token_id", "dtype",
            "torch_dtype", "initializer_range", "tokenizer_class");

    private OptGqaForm() {}

    static Mixer.Attention attention(BlockSpec block) {
        if (block.mixer() instanceof Mixer.Attention form) {
            return form;
        }
        throw new IllegalArgumentException("block " + block.index() + " has no attention");
    }

    private static FeedForward.Dense mlp(BlockSpec block) {
        if (block.feedForward() instanceof FeedForward.Dense dense) {
            return dense;
        }
        throw new IllegalArgumentException("block " + block.index() + " has experts");
    }

    /** Whether the table's rows stay what the head multiplies by: a factor or a norm of the embeddings is folded into them alone. */
    static boolean staysTied(ModelSpec spec) {
        return spec.embedding().scale() == 1 && spec.embedding().norm() == null;
    }

    /** Refuses by name what it cannot say; ConvertCheck has let the blocks pass. */
    static void check(ModelDirectory source, ModelSpec spec, Positions positions) {
        refuse(spec.embedding().projection() != null || spec.head().projection() != null, source,
                "projected embeddings");
        refuse(!staysTied(spec) && spec.embedding().positions() != null, source,
                "a factor or norm of embeddings and learned positions together");
        refuse(spec.head().norm() == null, source, "no final norm");
        refuse(spec.head().scale() != 1 || spec.head().softcap() != 0 || spec.head().normalised(), source,
                "a head with scale, cap or normalised rows");
        spec.blockSpecs().forEach(block -> check(source, spec, block, positions));
        NormSpec first = spec.block(0).norm(NormSlot.BEFORE_ATTENTION);
        refuse(first == null, source, "attention without a norm before it");
        NormSpec like = Objects.requireNonNull(first);
        spec.norms().forEach(norm -> refuse(norm.kind() != like.kind() || norm.eps() != like.eps()
                || norm.bias() != like.bias() || norm.offset() != 0 || norm.grouped(), source,
                "norms of several forms (" + norm.name() + ")"));
    }

    private static void check(ModelDirectory source, ModelSpec spec, BlockSpec block, Positions positions) {
        BlockSpec like = spec.block(0);
        Mixer.Attention form = attention(block);
        refuse(form.window() > 0, source, "a window of attention");
        refuse(form.softcap() != 0, source, "capped scores");
        refuse(Math.abs(form.scale() * Math.sqrt(form.headDim()) - 1) > 1e-6, source, "scores of another scale");
        refuse(block.has(NormSlot.QUERY) || block.has(NormSlot.KEY), source, "norms of queries and keys");
        refuse(block.has(NormSlot.AFTER_ATTENTION) || block.has(NormSlot.AFTER_MLP), source,
                "norms after attention or MLP");
        refuse(block.residual() != like.residual() || block.residualScale() != 1, source,
                "a factor of what joins the residual stream");
        refuse(block.has(NormSlot.BEFORE_MLP) != like.has(NormSlot.BEFORE_MLP), source, "norms before some MLPs");
        refuse(!(block.feedForward() instanceof FeedForward.Dense), source, "a mixture of experts");
        refuse(!block.feedForward().equals(like.feedForward()), source, "MLPs of several forms");
        refuse(mlp(block).form() instanceof FeedForward.Form.Clamped, source, "a clamped MLP");
        for (Group group : Group.values()) {
            refuse(group.biased(block).size() > 1 || group.bias(block) != group.bias(like), source,
                    "biases of some of " + group + " alone");
        }
        if (!(positions instanceof Positions.Alibi alibi) || alibi.meanOver() == 0) {
            refuse(!form.position().equals(attention(like).position()), source,
                    "positions of several forms (block " + block.index() + ")");
        }
        refuse(positions instanceof Positions.Alibi && hasNoPosition(spec, form), source,
                "block " + block.index() + " without positions");
    }

    private static boolean hasNoPosition(ModelSpec spec, Mixer.Attention form) {
        return form.position() instanceof Position.None && spec.embedding().positions() == null;
    }

    /** Linears that have biases together or have none. */
    private enum Group {
        INPUTS, OUTPUT, MLP;

        private boolean has(Projection projection) {
            return switch (projection) {
                case QUERY, KEY, VALUE, QUERY_KEY_VALUE -> this == INPUTS;
                case ATTENTION_OUTPUT -> this == OUTPUT;
                case GATE, UP, GATE_UP, DOWN -> this == MLP;
                default -> false;
            };
        }

        private List<Boolean> biased(BlockSpec block) {
            return block.linears().stream().filter(linear -> has(linear.projection()))
                    .map(LinearSpec::bias).distinct().toList();
        }

        private boolean bias(BlockSpec block) {
            return biased(block).getFirst();
        }
    }

    private static void refuse(boolean holds, ModelDirectory source, String what) {
        if (holds) {
            throw refused(source, what);
        }
    }

    static UserError refused(ModelDirectory source, String what) {
        return new UserError(Code.UNSUPPORTED_MODEL, source.path()
                + ": the converted model would have to be written as "
                + "opt_gqa, which has no room for " + what
                + "; keep the positions and give all layers one number of key-value heads (--ratio, --kv-heads), if the "
                + "model's own family can hold that");
    }

    static ObjectNode config(ModelDirectory source, ModelSpec spec, Positions positions) {
        BlockSpec block = spec.block(0);
        Mixer.Attention form = attention(block);
        ObjectNode config = JsonMapper.shared().createObjectNode();
        config.putArray("architectures").add("OptGqaForCausalLM");
        config.put("model_type", "opt_gqa");
        ObjectNode code = config.putObject("auto_map");
        code.put("AutoConfig", "configuration_opt_gqa.OptGqaConfig");
        code.put("AutoModelForCausalLM", "modeling_opt_gqa.OptGqaForCausalLM");
        config.put("vocab_size", spec.vocabSize());
        config.put("hidden_size", spec.hiddenSize());
        config.put("num_hidden_layers", spec.blocks());
        config.put("num_attention_heads", form.heads());
        config.put("num_key_value_heads", form.kvHeads());
        config.put("head_dim", form.headDim());
        config.put("max_position_embeddings", spec.maxPositions());
        config.put("tie_word_embeddings", spec.head().tied() && staysTied(spec));
        config.put("lm_head_bias", spec.head().bias());
        config.put("parallel_residual", block.residual() == BlockSpec.Residual.PARALLEL);
        config.put("mlp_norm", block.has(NormSlot.BEFORE_MLP));
        config.put("attention_bias", Group.INPUTS.bias(block));
        config.put("attention_output_bias", Group.OUTPUT.bias(block));
        mlp(config, block);
        norm(config, Objects.requireNonNull(block.norm(NormSlot.BEFORE_ATTENTION)));
        positions(source, config, positions, form);
        KEPT.forEach(key -> {
            JsonNode value = source.config().json().path(key);
            if (!value.isMissingNode()) {
                config.set(key, value);
            }
        });
        return config;
    }

    private static void mlp(ObjectNode config, BlockSpec block) {
        config.put("intermediate_size", mlp(block).intermediateSize());
        switch (mlp(block).form()) {
            case FeedForward.Form.Gated(Activation activation) -> {
                config.put("mlp_type", "gated");
                config.put("hidden_act", name(activation));
            }
            case FeedForward.Form.Plain(Activation activation) -> {
                config.put("mlp_type", "plain");
                config.put("hidden_act", name(activation));
            }
            case FeedForward.Form.Clamped clamped -> throw new IllegalArgumentException(clamped.toString());
        }
        config.put("mlp_bias", Group.MLP.bias(block));
    }

    private static String name(Activation activation) {
        return switch (activation) {
            case SILU -> "silu";
            case GELU -> "gelu";
            case GELU_TANH -> "gelu_pytorch_tanh";
            case RELU -> "relu";
            case GELU_QUICK, RELU_SQUARED, SIGMOID ->
                throw new IllegalArgumentException("no description reads an MLP with " + activation);
        };
    }

    private static void norm(ObjectNode config, NormSpec norm) {
        // As it was written, 1e-5, and not what float32 makes of that.
        double eps = Double.parseDouble(Float.toString(norm.eps()));
        switch (norm.kind()) {
            case RMS -> {
                config.put("norm_type", "rms_norm");
                config.put("rms_norm_eps", eps);
            }
            case LAYER -> {
                config.put("norm_type", "layer_norm");
                config.put("layer_norm_eps", eps);
                config.put("norm_bias", norm.bias());
            }
        }
    }

    private static void positions(ModelDirectory source, ObjectNode config, Positions positions, Mixer.Attention form) {
        switch (positions) {
            case Positions.Learned learned -> config.put("position_type", "learned");
            case Positions.Rotary(Position.Rotary rotary) -> {
                config.put("position_type", "rotary");
                config.put("rope_theta", rotary.theta());
                config.put("partial_rotary_factor", (double) rotary.rotaryDim() / form.headDim());
                scaling(source, config, rotary.scaling());
            }
            case Positions.Alibi alibi -> {
                config.put("position_type", "alibi");
                config.put("alibi_bias_max", MAX_BIAS);
                ArrayNode slopes = config.putArray("alibi_slopes");
                if (alibi.slopes().isEmpty()) {
                    for (float slope : AttentionParts.Positions.alibi(MAX_BIAS, form.heads())) {
                        slopes.add(slope);
                    }
                }
                alibi.slopes().forEach(slopes::add);
            }
        }
    }

    private static void scaling(ModelDirectory source, ObjectNode config, RotaryScaling scaling) {
        switch (scaling) {
            case RotaryScaling.Default() -> {
            }
            case RotaryScaling.Linear(double factor) ->
                config.putObject("rope_scaling").put("rope_type", "linear").put("factor", factor);
            case RotaryScaling.Llama3 llama -> config.putObject("rope_scaling").put("rope_type", "llama3")
                    .put("factor", llama.factor()).put("low_freq_factor", llama.lowFrequencyFactor())
                    .put("high_freq_factor", llama.highFrequencyFactor())
                    .put("original_max_position_embeddings", llama.originalPositions());
            case RotaryScaling.Dynamic _,RotaryScaling.Yarn _,RotaryScaling.LongRope _ ->
                refuse(true, source, "a rotary scaling other than linear and llama3");
        }
    }
}
