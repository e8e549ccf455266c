package dev.optgptq.calibrate.family;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;

/** How a model knows the order of its tokens. */
public sealed interface Position {

    /**
     * Rotary embedding of queries and keys (Su et al. 2021).
     *
     * @param theta base of the frequencies
     * @param rotaryDim how many elements of a head turn, even
     * @param layout which elements pair up
     * @param scaling how the frequencies were stretched for longer contexts
     * @param frequencyType what the frequencies are rounded to: F32, as transformers and vLLM load any checkpoint. A model
     *     that was cast as a whole in memory, module.to(bfloat16), has lost their last bits for good, and differs from the
     *     same weights loaded from disk
     */
    record Rotary(double theta, int rotaryDim, RotaryLayout layout, RotaryScaling scaling,
            DType frequencyType) implements Position {

        public Rotary withFrequencyType(DType type) {
            return new Rotary(theta, rotaryDim, layout, scaling, type);
        }
    }

    /**
     * A bias on the attention scores that falls linearly with distance (Press et al. 2021).
     *
     * @param maxBias the exponent of the last slope: 8 for 2^-8
     */
    record Alibi(double maxBias) implements Position {}

    /** No position at all: causality alone orders the tokens. */
    record None() implements Position {}
}
