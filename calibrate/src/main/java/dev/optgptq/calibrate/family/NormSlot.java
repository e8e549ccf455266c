package dev.optgptq.calibrate.family;

/** Where norms stand in a block. */
public enum NormSlot {
    BEFORE_ATTENTION, AFTER_ATTENTION, BEFORE_MLP, AFTER_MLP,
    /** Of queries and keys, before they are turned. */
    QUERY, KEY,
    /** Of what queries, or keys and values, are made from in latent attention. */
    QUERY_LATENT, KEY_VALUE_LATENT,
    /** Of a deltanet's output, before its gate. */
    DELTA
}
