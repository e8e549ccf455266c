package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.NeuralOps.RotaryLayout;

/** How a model knows the order of its tokens. */
public sealed interface Position {

    /**
     * Rotary embedding of queries and keys (Su et al. 2021).
     *
     * @param theta base of the frequencies
     * @param rotaryDim how many elements of a head turn, even
     * @param layout which elements pair up
     * @param scaling how the frequencies were stretched for longer contexts
     */
    record Rotary(double theta, int rotaryDim, RotaryLayout layout, RotaryScaling scaling) implements Position {}

    /**
     * A bias on the attention scores that falls linearly with distance (Press et al. 2021).
     *
     * @param maxBias the exponent of the last slope: 8 for 2^-8
     */
    record Alibi(double maxBias) implements Position {}

    /** No position at all: causality alone orders the tokens. */
    record None() implements Position {}
}
