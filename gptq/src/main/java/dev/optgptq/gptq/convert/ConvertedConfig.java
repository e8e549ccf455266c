package dev.optgptq.gptq.convert;

import dev.optgptq.formats.model.ModelConfig;
import java.util.List;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** config.json of a converted model that stays in its family. */
final class ConvertedConfig {

    /** By which families say it: most of them, falcon, and falcon's first files. */
    private static final List<String> KEYS = List.of("num_key_value_heads", "num_kv_heads", "n_head_kv");

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
            config.put(KEYS.stream().filter(config::has).findFirst().orElse(KEYS.getFirst()), kvHeads);
        }
        return config;
    }
}
