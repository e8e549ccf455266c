package dev.optgptq.calibrate.family;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.List;

/** How attention knows the order of its tokens. */
public sealed interface Position {

    default Position withFrequencyType(DType type) {
        return this;
    }

    /**
     * Rotary embedding of queries and keys (Su et al. 2021).
     *
     * @param theta base of the frequencies
     * @param rotaryDim how many elements of a head turn, even
     * @param layout which elements pair up
     * @param scaling how the frequencies were stretched for longer contexts
     * @param frequencyType dtype to which the frequencies are rounded: F32, as transformers and vLLM load any
     *     checkpoint. A model that was cast as a whole in memory, module.to(bfloat16), has lost their last bits for
     *     good, and differs from the same weights loaded from disk
     */
    record Rotary(double theta, int rotaryDim, RotaryLayout layout, RotaryScaling scaling,
            DType frequencyType) implements Position {

        @Override
        public Rotary withFrequencyType(DType type) {
            return new Rotary(theta, rotaryDim, layout, scaling, type);
        }
    }

    /**
     * A bias on the attention scores that falls linearly with distance (Press et al. 2021).
     *
     * @param maxBias the exponent of the last slope: 8 for 2^-8
     * @param factor multiplies every slope: 1, or the scores' scale where that is applied to the biased scores (falcon)
     * @param slopeType dtype to which the slopes are rounded before; F32 for none
     * @param stated one slope for each query head, where config.json lists them; empty where they follow from maxBias
     */
    record Alibi(double maxBias, double factor, DType slopeType, List<Double> stated) implements Position {

        public Alibi {
            stated = List.copyOf(stated);
        }

        /** The slopes of the paper. */
        public Alibi(double maxBias, double factor, DType slopeType) {
            this(maxBias, factor, slopeType, List.of());
        }
    }

    /** No position at all: causality alone orders the tokens, or learned positions were added to the embedding. */
    record None() implements Position {}
}
