package dev.optgptq.calibrate.model;

/** What the passes keep in scratch memory, one matrix each with a row for every token: F32 unless said otherwise. */
enum Scratch {
    /** The stream after the norm before attention, then after that before the MLP. */
    NORMED,
    /** The latter, where both are needed at one time. */
    MLP_NORMED,
    /** What is added to the stream, where a norm or a factor comes between. */
    BRANCH,
    /** All queries [and gates], then all keys, then all values. */
    QUERIES_KEYS_VALUES,
    /** What a linear puts out whose rows lie in groups, in the order of the disk. */
    FUSED,
    /** What attention finds. */
    ATTENDED,
    /** Of the MLP; both in one where one linear computes both. */
    GATE, UP, GATE_UP,
    /** Of latent attention: latents before and after their norms, queries as they lie on disk, what keys and values are made of. */
    QUERY_LATENT, KEY_VALUE_DOWN, KEY_VALUE_LATENT, LATENT_QUERIES, LATENT_KEYS_VALUES,
    /** Of a gated deltanet: queries, keys, values and gates before and after the convolution, and the two scalars a head. */
    DELTA_INPUTS, DELTA_MIXED, DELTA_SCALARS, DELTA_DECAYS,
    /** What the router finds of each token: logits, the experts that it chooses and their weights. */
    ROUTER_LOGITS, ROUTER_CHOICE, ROUTER_WEIGHTS,
    /** Tokens by expert, and where their weights are. */
    ROUTER_TOKENS, ROUTER_SLOTS,
    /** Of one expert's tokens: what they have, what it makes of them, and their weights. */
    EXPERT_INPUT, EXPERT_OUTPUT, EXPERT_WEIGHTS,
    /** Of the shared expert, before the sigmoid. */
    SHARED_GATE,

    // What a traced forward pass leaves for the gradients.

    /** The stream between attention and MLP. */
    RESIDUAL,
    /** The stream after the MLP, where a norm needs it and nobody else does. */
    OUTPUT,
    /** Queries, keys and values before norms and clipping. */
    RAW,
    /** What a latent was before its norm. */
    QUERY_LATENT_RAW,
    /** What the convolution of a deltanet put out, and what its rule found before the norm. */
    DELTA_CONVOLVED, DELTA_FOUND, DELTA_NORMED,
    /** What attention found, times its gate. */
    GATED,
    /** What entered the last linear. */
    ACTIVATED,
    /** What attention and MLP put out before the norm after them; or the sums that are normalised. */
    ATTENTION_BRANCH, MLP_BRANCH,

    // Gradients.

    D_NORMED, D_MLP_NORMED, D_BRANCH, D_SCALED, D_QUERIES_KEYS_VALUES, D_RAW, D_ATTENDED, D_ACTIVATED,
    /** As their namesakes. */
    D_LATENT_QUERIES, D_LATENT_KEYS_VALUES, D_KEY_VALUE_DOWN, D_QUERY_LATENT, D_KEY_VALUE_LATENT, D_DELTA_INPUTS, D_DELTA_MIXED, D_DELTA_SCALARS, D_DELTA_DECAYS, D_DELTA_NORMED, D_ROUTER_LOGITS, D_ROUTER_WEIGHTS, D_EXPERT_INPUT, D_EXPERT_OUTPUT, D_EXPERT_WEIGHTS,
    /** A stage between, computed again. */
    STAGE
}
