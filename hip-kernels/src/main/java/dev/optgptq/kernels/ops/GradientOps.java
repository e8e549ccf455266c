package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/**
 * The backward ops: each takes the loss's gradient for the output of its namesake in NeuralOps, dOut, and gives the
 * gradient for the inputs. Intermediate results of the forward op are recomputed here, so only its inputs need to be
 * kept. All F32 unless said otherwise; rows are tokens, as in NeuralOps; arguments never alias unless an op says "in
 * place".
 *
 * <p>
 * A linear layer y = x w^T + bias needs no op of its own: dx = dy w and dw = dy^T x are MatrixOps.gemm, the bias is
 * addRowsInto. Gradients of parameters are added to what is there, since batches share them.
 */
public interface GradientOps {

    /**
     * dx += the gradient through rmsNorm, so that it meets the residual's in place; with n = x / rms and g = dOut weight:
     * (g - n mean(g n)) / rms. x, dOut, dx [N, d], weight [1, d]; dWeight [1, d] += sum over rows of dOut n.
     */
    void rmsNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight);

    /**
     * dx += the gradient through layerNorm; with n = (x - mean) / deviation and g = dOut weight: (g - mean(g) - n mean(g
     * n)) / deviation. x, dOut, dx [N, d], weight [1, d]; dWeight [1, d] += sum of dOut n, dBias [1, d] += sum of dOut.
     */
    void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias);

    /** As rmsNormGradient, through rmsNormGroups: dWeight is shaped as weight, of a shared one the sum over the groups. */
    void rmsNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight);

    /** As layerNormGradient, through layerNormGroups: dWeight and dBias are shaped as weight. */
    void layerNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias);

    /** The gradient through rotary, in place: the transposed rotation. Arguments as in NeuralOps.rotary. */
    void rotaryGradient(Tensor d, int headDim, Tensor cos, Tensor sin, RotaryLayout layout);

    /**
     * Inputs and output of a call of NeuralOps.attention.
     *
     * @param q [N, heads * headDim]
     * @param k [N, kvHeads * headDim]
     * @param v [N, kvHeads * valueDim]
     * @param slopes [1, heads], where there is ALiBi
     * @param sinks [1, heads], where there are sinks
     * @param out [N, heads * valueDim]
     */
    record Attended(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks, AttentionShape shape,
            Tensor out) {

        /** Without sinks. */
        public Attended(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
            this(q, k, v, slopes, null, shape, out);
        }
    }

    /**
     * The gradient through attention (FlashAttention-2, arXiv 2307.08691, algorithm 2): with p the softmax of a query,
     * recomputed tile by tile, dv_j = sum_i p_ij dOut_i, ds_ij = p_ij (dOut_i . v_j - dOut_i . out_i), dq_i = scale
     * sum_j ds_ij k_j, dk_j = scale sum_i ds_ij q_i. With a softcap, ds_ij also has 1 - tanh^2. dOut is shaped as out, dq, dk and
     * dv as q, k and v; all three are written. KV heads sum over their query heads. dSinks [1, heads] += - sum_i p_i,sink
     * (dOut_i . out_i), if there are sinks and it is wanted. No score matrix is kept.
     */
    void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv, @Nullable Tensor dSinks);

    /** The same without the gradient of sinks. */
    default void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {
        attentionGradient(forward, dOut, dq, dk, dv, null);
    }

    /**
     * The Jacobian of causal softmaxes, applied to errors of their scores, in place: every row e becomes sum_k w_k (p_k * e - (p_k .
     * e) p_k), p_1 and p_2 being the rows of two attentions and p_3 uniform over the keys that the query sees. That is the gradient
     * for e of sum_k w_k KL(p_k || softmax(s_k + e)) to second order. first, second, errors [B * T, T] as in causalSoftmax.
     */
    void attentionCurvature(Tensor first, Tensor second, CurvatureWeights weights, int window, Tensor errors);

    /** w_1, w_2 and w_3 of attentionCurvature. */
    record CurvatureWeights(float first, float second, float uniform) {}

    /** x = f'(x) dOut, in place in x, which holds the input of activate. */
    void activateGradient(Activation activation, Tensor x, Tensor dOut);

    /** gate = f'(gate) up dOut and up = f(gate) dOut, in place; they hold the inputs of activateGated. */
    void activateGatedGradient(Activation activation, Tensor gate, Tensor up, Tensor dOut);

    /**
     * gate and up hold the inputs of clampedSwiglu and are replaced by their gradients, in place; 0 where it clamped.
     */
    void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut);

    /**
     * d = d sigmoid(gate), which is dx, and gate = its gradient, of [N, 1] the sum of its row; in place in both. x and gate
     * as they went into gateSigmoid, d [N, d] its dOut.
     */
    void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d);

    /** d = d (1 - (y / cap)^2), in place in d; y is the output of softcap. */
    void softcapGradient(Tensor y, float cap, Tensor d);

    /** d = 0 where |x| > limit, in place in d; x is the input of clamp. */
    void clampGradient(Tensor x, float limit, Tensor d);

    /** dTable[ids[r]] += dOut[r], rows in order: ids I32 [1, N] in [0, V), dTable [V, d], dOut [N, d]. */
    void embedGradient(Tensor ids, Tensor dOut, Tensor dTable);

    /**
     * logits[r] = weights[r] (softmax(logits[r]) - onehot(targets[r])), in place: the gradient of sum_r weights[r] nll[r].
     * logits [N, V], targets I32 [1, N] in [0, V), weights [1, N].
     */
    void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights);

    /**
     * student[r] = weights[r] (softmax(student[r]) - softmax(teacher[r])), in place: the gradient of sum_r weights[r] kl[r]
     * of klDivergence for the student's logits. teacher, student [N, V], finite; weights [1, N].
     */
    void klGradient(Tensor teacher, Tensor student, Tensor weights);

    /** sums += sum over the rows of x: x [N, d], sums [1, d]. The gradient of a row that was added to every row. */
    void addRowsInto(Tensor x, Tensor sums);

    /** squares[r] += factor sum over columns of x[r]^2: x [N, d], squares [1, N]. */
    void addSquares(float factor, Tensor x, Tensor squares);

    /** out[r] = factors[r] x[r]: x, out [N, d], factors [1, N]. */
    void scaleRows(Tensor x, Tensor factors, Tensor out);
}
