package dev.optgptq.calibrate.family;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/** Remarks for people about fields of config.json that no description knows: they may change the model. */
final class Remarks {

    /** Fields that any config.json may have, and that change nothing in a forward pass of text without dropout. */
    private static final Set<String> WITHOUT_EFFECT = Set.of("_name_or_path", "_attn_implementation",
            "_attn_implementation_autoset", "_commit_hash", "add_cross_attention", "architectures", "attention_dropout",
            "attention_probs_dropout_prob", "attn_pdrop", "auto_map", "bad_words_ids", "begin_suppress_tokens",
            "bos_token_id", "cache_implementation", "chunk_size_feed_forward", "classifier_dropout",
            "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dropout",
            "dtype",
            "early_stopping", "embd_pdrop", "embedding_dropout", "encoder_no_repeat_ngram_size", "eos_token_id",
            "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id",
            "gradient_checkpointing", "hidden_dropout", "id2label", "init_device", "init_std", "initializer_range",
            "is_decoder", "is_encoder_decoder", "label2id", "layerdrop", "length_penalty", "max_length",
            "model_type", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
            "num_return_sequences", "output_attentions", "output_hidden_states", "output_router_logits",
            "output_scores",
            "pad_token_id", "prefix", "pretraining_tp", "problem_type", "pruned_heads", "quantization",
            "quantization_config",
            "remove_invalid_values", "repetition_penalty", "resid_pdrop", "residual_dropout", "return_dict",
            "return_dict_in_generate", "router_aux_loss_coef", "router_jitter_noise", "sep_token_id",
            "suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder",
            "tokenizer_class", "tokenizer_name", "top_k", "top_p", "torch_dtype", "torchscript",
            "transformers_version", "typical_p", "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache",
            "verbose");

    private Remarks() {}

    /** @param mentioned names in the family's description */
    static List<String> of(Family family, ConfigReader config, Set<String> mentioned) {
        List<String> remarks = new ArrayList<>();
        if (config.has("is_causal") && !config.flag("is_causal")) {
            throw config.unsupported("is_causal is false; only causal language models are supported");
        }
        String whole = config.outer() != null ? config.outer() : config.text("model_type");
        if (config.outer() != null || config.has("vision_config")) {
            remarks.add("config.json is of a " + whole + " model, of which the text part is run as "
                    + family.family() + "; its other tensors are kept as they are");
        }
        if (config.has("auto_map") && !family.withoutEffect().contains("auto_map")) {
            remarks.add(
                    "the model brings code of its own (auto_map), which is not run; if it computes something other "
                            + "than " + family.family() + ", results are wrong");
        }
        JsonNode architectures = config.at("architectures");
        for (JsonNode architecture : architectures) {
            String name = architecture.stringValue("");
            if (!family.architectures().contains(name)) {
                remarks.add("architectures names " + name + "; this " + family.family() + " model is run as "
                        + String.join(" or ", family.architectures()));
            }
        }
        for (String field : config.unread(listed(family.withoutEffect(), mentioned))) {
            remarks.add(
                    "field " + field + " of config.json is unknown and has no effect here: " + shown(config.at(field)));
        }
        return remarks;
    }

    private static Collection<String> listed(Collection<String> ofFamily, Collection<String> mentioned) {
        Set<String> listed = new HashSet<>(WITHOUT_EFFECT);
        listed.addAll(ofFamily);
        listed.addAll(mentioned);
        return listed;
    }

    private static String shown(JsonNode value) {
        String text = value.toString();
        return text.length() > 60 ? text.substring(0, 60) + "..." : text;
    }
}
