package dev.optgptq.gptq.convert;

import dev.optgptq.formats.model.ModelConfig;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** config.json of a converted model that stays in its family. */
final class ConvertedConfig {

    private ConvertedConfig() {}

    /** The source's, with other numbers of key-value heads; a list of them is opt_gqa's alone. */
    static ObjectNode of(ModelConfig source, HeadPlan plan) {
        if (plan.isUniform()) {
            return of(source, plan.kvHeads().getFirst());
        }
        ObjectNode config = (ObjectNode) source.json().deepCopy();
        ArrayNode counts = config.putArray("num_key_value_heads");
        plan.kvHeads().forEach(counts::add);
        return config;
    }

    /** The source's, with another number of key-value heads. */
    static ObjectNode of(ModelConfig source, int kvHeads) {
        ObjectNode config = (ObjectNode) source.json().deepCopy();
        if (config.get("attn_config") instanceof ObjectNode attention) {
            attention.put("attn_type", "grouped_query_attention");
            attention.put("kv_n_heads", kvHeads);
        } else {
            config.put("num_key_value_heads", kvHeads);
        }
        return config;
    }
}
