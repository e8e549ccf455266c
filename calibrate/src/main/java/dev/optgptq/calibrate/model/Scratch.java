package dev.optgptq.calibrate.model;

/** The matrices in scratch memory of the passes, each with a row per token: F32 unless said otherwise. */
enum Scratch {
    /** The stream after the norm before attention, then after that before the MLP. */
    NORMED,
    /** The latter, where both are needed at one time. */
    MLP_NORMED,
    /** The addend of the stream, before a norm or a factor. */
    BRANCH,
    /** All queries [and gates], then all keys, then all values. */
    QUERIES_KEYS_VALUES,
    /** Output of a linear with grouped rows, in the order on disk. */
    FUSED,
    /** Attention's output. */
    ATTENDED,
    /** Of the MLP; both in one where one linear computes both. */
    GATE, UP, GATE_UP,
    /**
     * Of latent attention: latents before and after their norms, queries in the order on disk, the projection of keys
     * and values.
     */
    QUERY_LATENT, KEY_VALUE_DOWN, KEY_VALUE_LATENT, LATENT_QUERIES, LATENT_KEYS_VALUES,
    /** Of a gated deltanet: queries, keys, values and gates before and after the convolution, and the two scalars a head. */
    DELTA_INPUTS, DELTA_MIXED, DELTA_SCALARS, DELTA_DECAYS,
    /** The router's results per token: logits, the chosen experts and their weights. */
    ROUTER_LOGITS, ROUTER_CHOICE, ROUTER_WEIGHTS,
    /** Tokens by expert, and where their weights are. */
    ROUTER_TOKENS, ROUTER_SLOTS,
    /** Of one expert's tokens: inputs, outputs, and their weights. */
    EXPERT_INPUT, EXPERT_OUTPUT, EXPERT_WEIGHTS,
    /** Of the shared expert, before the sigmoid. */
    SHARED_GATE,

    // Kept by a traced forward pass for the gradients.

    /** The stream between attention and MLP. */
    RESIDUAL,
    /** The stream after the MLP, if only a norm needs it. */
    OUTPUT,
    /** Queries, keys and values before norms and clipping. */
    RAW,
    /** A latent before its norm. */
    QUERY_LATENT_RAW,
    /** The convolution output of a deltanet, and the output of its rule before the norm. */
    DELTA_CONVOLVED, DELTA_FOUND, DELTA_NORMED,
    /** Attention's output times its gate. */
    GATED,
    /** The input of the last linear. */
    ACTIVATED,
    /** Outputs of attention and MLP before the norm after them; or the sums that are normalised. */
    ATTENTION_BRANCH, MLP_BRANCH,

    // Gradients.

    D_NORMED, D_MLP_NORMED, D_BRANCH, D_SCALED, D_QUERIES_KEYS_VALUES, D_RAW, D_ATTENDED, D_ACTIVATED,
    /** As their namesakes. */
    D_LATENT_QUERIES, D_LATENT_KEYS_VALUES, D_KEY_VALUE_DOWN, D_QUERY_LATENT, D_KEY_VALUE_LATENT, D_DELTA_INPUTS, D_DELTA_MIXED, D_DELTA_SCALARS, D_DELTA_DECAYS, D_DELTA_NORMED, D_ROUTER_LOGITS, D_ROUTER_WEIGHTS, D_EXPERT_INPUT, D_EXPERT_OUTPUT, D_EXPERT_WEIGHTS,
    /** A recomputed intermediate. */
    STAGE
}
