package dev.optgptq.calibrate.family;

/**
 * The places in a decoder block where an activation enters one or more linear layers, in the order of the forward pass.
 * Linears that share a site share one Hessian.
 */
public enum InputSite {
    /** After the first norm: q, k, v, or the fused one. */
    ATTENTION_INPUT("attention input"),
    /** The concatenated heads: the output projection. */
    ATTENTION_OUTPUT("attention output"),
    /** After the second norm: gate and up. */
    MLP_INPUT("MLP input"),
    /** After the activation: down. */
    MLP_OUTPUT("MLP output");

    private final String label;

    InputSite(String label) {
        this.label = label;
    }

    /** For people. */
    public String label() {
        return label;
    }
}
