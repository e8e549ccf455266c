package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.InputSite.Kind;

/** What a linear layer computes in a decoder block, in the order of the forward pass. A block has those that its family lists. */
public enum Projection {
    QUERY(Kind.ATTENTION_INPUT), KEY(Kind.ATTENTION_INPUT), VALUE(Kind.ATTENTION_INPUT),
    /** Queries, keys and values in one. */
    QUERY_KEY_VALUE(Kind.ATTENTION_INPUT),
    /** Queries, and the gate of attention's output. */
    QUERY_GATE(Kind.ATTENTION_INPUT),
    /** Latent attention: the latents, that of keys and values followed by the shared rotary key. */
    QUERY_DOWN(Kind.ATTENTION_INPUT), KEY_VALUE_DOWN(Kind.ATTENTION_INPUT),
    /** Queries, or keys and values, of the latents. */
    QUERY_UP(Kind.QUERY_LATENT), KEY_VALUE_UP(Kind.KEY_VALUE_LATENT),
    /** Gated deltanet: queries, keys and values with or without the output's gate, and the two scalars a head. */
    DELTA_QUERY_KEY_VALUE(Kind.ATTENTION_INPUT), DELTA_GATE(Kind.ATTENTION_INPUT), DELTA_QUERY_KEY_VALUE_GATE(
            Kind.ATTENTION_INPUT), DELTA_BETA(Kind.ATTENTION_INPUT), DELTA_DECAY(
                    Kind.ATTENTION_INPUT), DELTA_BETA_DECAY(Kind.ATTENTION_INPUT), ATTENTION_OUTPUT(
                            Kind.ATTENTION_OUTPUT),
    /** Goes through the activation and multiplies UP. */
    GATE(Kind.MLP_INPUT), UP(Kind.MLP_INPUT),
    /** Both in one. */
    GATE_UP(Kind.MLP_INPUT), DOWN(Kind.MLP_OUTPUT),
    /** The same of one expert. */
    EXPERT_GATE(Kind.EXPERT_INPUT), EXPERT_UP(Kind.EXPERT_INPUT), EXPERT_GATE_UP(
            Kind.EXPERT_INPUT), EXPERT_DOWN(Kind.EXPERT_OUTPUT);

    private final Kind site;

    Projection(Kind site) {
        this.site = site;
    }

    /** The site of its input. */
    public Kind site() {
        return site;
    }
}
