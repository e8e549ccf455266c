package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The ops of a transformer's forward pass. Activations are F32; rows are tokens, sequence after sequence, so row r of a
 * batch has position r % sequenceLength. N = rows (tokens). Arguments are checked (shape, dtype) and never aliased
 * unless an op says "in place".
 */
public interface NeuralOps {

    /** target = source, element by element, between float dtypes; rounds to nearest even when narrowing. */
    void convert(Tensor source, Tensor target);

    /** out[r] = table[ids[r]]: ids I32 [1, N], table any float dtype [V, d], out F32 [N, d]. Ids are in [0, V). */
    void embed(Tensor ids, Tensor table, Tensor out);

    /**
     * out = x / sqrt(mean(x^2) + eps) * weight, per row: x F32 [N, d], weight F32 [1, d]; out [N, d] F32, which may be x, or F16
     * or BF16, to which the float32 is rounded.
     */
    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out);

    /** out = (x - mean) / sqrt(var + eps) * weight + bias, per row; biased variance. out as in rmsNorm. */
    void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out);

    /**
     * rmsNorm of every run of width columns of a row by itself, as the norm of a head's query or key: x, out F32 [N, groups *
     * width], weight F32 [1, width], which the groups share, or [1, groups * width], each group its own. out may be x.
     */
    void rmsNormGroups(Tensor x, Tensor weight, int width, float eps, Tensor out);

    /** layerNorm of every run of width columns of a row by itself; weight and bias as in rmsNormGroups. out may be x. */
    void layerNormGroups(Tensor x, Tensor weight, @Nullable Tensor bias, int width, float eps, Tensor out);

    /**
     * Rotary embedding, in place. x F32 [N, heads * headDim]; cos, sin F32 [T, rotaryDim / 2] with N a multiple of T; row
     * r uses row r % T of the tables. The first rotaryDim elements of each head turn in pairs: (i, i + rotaryDim / 2) when
     * HALF, (2i, 2i + 1) when INTERLEAVED; (a, b) becomes (a cos - b sin, b cos + a sin).
     */
    void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout);

    /** The same from x, which stays, to out [N, heads * headDim]: F32, or F16 or BF16, to which the float32 is rounded. */
    void rotaryTo(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout, Tensor out);

    /** How rotary pairs are laid out in a head. */
    enum RotaryLayout {
        HALF, INTERLEAVED
    }

    /**
     * Causal attention, per sequence and head: out = softmax(q k^T scale + bias) v. q [N, heads * headDim]; k [N, kvHeads *
     * headDim]; v [N, kvHeads * valueDim]; out F32 [N, heads * valueDim]. q, k and v are F32, or all of one half-precision
     * dtype, in which a device may then also round the softmax's weights; scores and sums are F32. Query head h uses KV head
     * h / (heads / kvHeads). With a softcap c > 0, scaled scores s become c tanh(s / c) (Gemma 2, arXiv 2408.00118, section
     * 2). With slopes F32 [1, heads], the ALiBi bias slope[h] * (j - i) is added after that. With sinks F32 [1, heads], every
     * softmax of head h has one more score, sinks[h], whose weight multiplies no value (StreamingLLM, arXiv 2309.17453; as
     * gpt-oss learns it). With a window w > 0, query i sees keys i - w + 1 .. i only. Scores of a whole batch never exist at
     * one time.
     */
    void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks, AttentionShape shape,
            Tensor out);

    /** The same without sinks. */
    default void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        attention(q, k, v, slopes, null, shape, out);
    }

    /**
     * Products of queries and keys become attention, in place: scores F32 [B * T, T], B square matrices one under the other; row
     * i of each becomes the softmax of scale s_ij + slope (j - i) over the keys j <= i, of a window w > 0 over i - w + 1 .. i only,
     * and 0 over the others. slopes F32 [1, B]. For those who need the whole matrix; attention never forms it.
     */
    void causalSoftmax(Tensor scores, float scale, @Nullable Tensor slopes, int window);

    /**
     * The sizes of an attention call.
     *
     * @param sequenceLength T; N is a multiple of it
     * @param headDim elements of a query and a key of a head
     * @param valueDim elements of a value and an output of a head
     * @param scale multiplies q.k
     * @param softcap scores are kept within (-softcap, softcap); 0 where they are not
     * @param window keys visible to a query, itself included; 0 for all before it
     */
    record AttentionShape(int sequenceLength, int heads, int kvHeads, int headDim, int valueDim, float scale,
            float softcap, int window) {
        public AttentionShape {
            if (sequenceLength < 1 || heads < 1 || kvHeads < 1 || headDim < 1 || valueDim < 1 || !(softcap >= 0)
                    || window < 0 || heads % kvHeads != 0) {
                throw new IllegalArgumentException("bad attention shape: T " + sequenceLength + ", heads " + heads
                        + ", kvHeads " + kvHeads + ", headDim " + headDim + ", valueDim " + valueDim + ", softcap "
                        + softcap + ", window " + window);
            }
        }

        /** Values as wide as keys, scores as they are. */
        public AttentionShape(int sequenceLength, int heads, int kvHeads, int headDim, float scale, int window) {
            this(sequenceLength, heads, kvHeads, headDim, headDim, scale, 0, window);
        }

        /** Query heads that share a KV head. */
        public int group() {
            return heads / kvHeads;
        }
    }

    /** x = f(x), in place. */
    void activate(Activation activation, Tensor x);

    /** gate = f(gate) * up, in place in gate. */
    default void activateGated(Activation activation, Tensor gate, Tensor up) {
        activateGated(activation, gate, up, gate);
    }

    /**
     * out = activation(gate) * up: gate and up F32 [N, d]; out [N, d] F32, which may be gate, or F16 or BF16, to which the float32
     * is rounded.
     */
    void activateGated(Activation activation, Tensor gate, Tensor up, Tensor out);

    /**
     * SILU x / (1 + e^-x); GELU with erf; GELU_TANH the tanh approximation; GELU_QUICK x / (1 + e^(-1.702 x)); RELU max(x,
     * 0); RELU_SQUARED its square; SIGMOID 1 / (1 + e^-x).
     */
    enum Activation {
        SILU, GELU, GELU_TANH, RELU, GELU_QUICK, RELU_SQUARED, SIGMOID
    }

    /**
     * gpt-oss's gated MLP: gate = (u + 1) g sigmoid(alpha g) with g = min(gate, limit), u = up within [-limit, limit]; in
     * place in gate: gate, up [N, d].
     */
    void clampedSwiglu(Tensor gate, Tensor up, float alpha, float limit);

    /** x = x sigmoid(gate), in place in x: x [N, d], gate [N, d], or [N, 1] where a row shares its gate. */
    void gateSigmoid(Tensor x, Tensor gate);

    /** x = factor x, in place. */
    void scale(Tensor x, float factor);

    /** x = cap tanh(x / cap), in place: cap > 0. */
    void softcap(Tensor x, float cap);

    /** x = min(max(x, -limit), limit), in place: limit >= 0; NaN stays NaN. */
    void clamp(Tensor x, float limit);

    /** x += y, in place in x. */
    void add(Tensor x, Tensor y);

    /** x[r] += row for every row, in place: row F32 [1, columns]. */
    void addRow(Tensor x, Tensor row);

    /**
     * nll[r] = log(sum_j exp(logits[r, j])) - logits[r, target[r]], accumulated in float64: logits F32 [N, V], targets I32
     * [1, N] in [0, V), nll F64 [1, N].
     */
    void crossEntropy(Tensor logits, Tensor targets, Tensor nll);

    /**
     * KL divergence of a student's next-token distribution from a teacher's: with p = softmax(teacher[r]) and q =
     * softmax(student[r]), kl[r] = sum_j p_j (log p_j - log q_j) in nats, accumulated in float64, and agrees[r] = 1 where
     * both rows have their maximum at the same token, of equal ones the first, else 0. Equal rows give exactly 0. teacher,
     * student F32 [N, V], finite; kl F64 [1, N]; agrees I32 [1, N]. A row with a NaN gives kl NaN and agrees 0.
     */
    void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees);

    /** count[0] = the number of elements of x (any float dtype) that are NaN or infinite: count I64 [1, 1]. */
    void countNonFinite(Tensor x, Tensor count);
}
