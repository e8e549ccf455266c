package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The ops of linear attention by the gated delta rule (Yang, Kautz and Hatamizadeh, arXiv 2412.06464), forward and backward.
 * All F32; rows are tokens, sequence after sequence, each of T; arguments never alias.
 */
public interface DeltaOps {

    /**
     * Depthwise: out[t, c] = bias[c] + sum_i weight[c, i] x[t - (K - 1) + i, c] of the same sequence, what is before its start
     * counting as 0. x, out [N, C], weight [C, K], bias [1, C].
     */
    void causalConvolution(Tensor x, Tensor weight, @Nullable Tensor bias, int sequenceLength, Tensor out);

    /** The gradient through causalConvolution: dx written; dWeight [C, K] and dBias [1, C] are added to. */
    void causalConvolutionGradient(Tensor x, Tensor weight, int sequenceLength, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias);

    /** out = -e^aLog log(1 + e^(a + dtBias)), the logarithm of a decay: a, out [N, H], aLog, dtBias [1, H]. */
    void deltaDecay(Tensor a, Tensor aLog, Tensor dtBias, Tensor out);

    /** The gradient through deltaDecay: da written; dALog and dDtBias [1, H] are added to. */
    void deltaDecayGradient(Tensor a, Tensor aLog, Tensor dtBias, Tensor dOut, Tensor da, @Nullable Tensor dALog,
            @Nullable Tensor dDtBias);

    /**
     * The sizes of a call.
     *
     * @param sequenceLength T; N is a multiple of it
     * @param keyHeads heads of queries and keys; value head h uses key head h / (valueHeads / keyHeads)
     * @param keyDim elements of a key, up to 256
     * @param scale multiplies queries
     */
    record DeltaShape(int sequenceLength, int keyHeads, int valueHeads, int keyDim, int valueDim, float scale) {

        private static final int MOST_KEY_DIM = 256;

        public DeltaShape {
            if (sequenceLength < 1 || keyHeads < 1 || valueHeads < 1 || valueHeads % keyHeads != 0 || keyDim < 1
                    || keyDim > MOST_KEY_DIM || valueDim < 1) {
                throw new IllegalArgumentException("bad delta shape: T " + sequenceLength + ", keyHeads " + keyHeads
                        + ", valueHeads " + valueHeads + ", keyDim " + keyDim + " (up to " + MOST_KEY_DIM
                        + "), valueDim " + valueDim);
            }
        }

        /** Value heads that share a key head. */
        public int group() {
            return valueHeads / keyHeads;
        }
    }

    /**
     * Inputs of the rule.
     *
     * @param q [N, keyHeads * keyDim], normalised, as is k
     * @param v [N, valueHeads * valueDim]
     * @param decay [N, valueHeads], logarithms, at most 0
     * @param beta [N, valueHeads], from 0 to 1
     */
    record DeltaInputs(Tensor q, Tensor k, Tensor v, Tensor decay, Tensor beta, DeltaShape shape) {}

    /**
     * Per sequence and value head, with a state S [keyDim, valueDim] that is 0 at first, for each token: S = e^decay S; u = beta
     * (v - S^T k); S = S + k u^T; out = S^T (scale q). out [N, valueHeads * valueDim].
     */
    void gatedDeltaRule(DeltaInputs inputs, Tensor out);

    /**
     * The gradient through gatedDeltaRule: dq, dk, dv, dDecay and dBeta, shaped as the inputs, all written. States are
     * recomputed from checkpoints: about 2 sqrt(T) of them are kept at a time.
     */
    void gatedDeltaRuleGradient(DeltaInputs inputs, Tensor dOut, DeltaGradients gradients);

    /** Gradients of the inputs, shaped as these. */
    record DeltaGradients(Tensor dq, Tensor dk, Tensor dv, Tensor dDecay, Tensor dBeta) {}
}
