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

    /** out = x / sqrt(mean(x^2) + eps) * weight, per row: x, out F32 [N, d], weight F32 [1, d]. */
    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out);

    /** out = (x - mean) / sqrt(var + eps) * weight + bias, per row; biased variance. */
    void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out);

    /**
     * Rotary embedding, in place. x F32 [N, heads * headDim]; cos, sin F32 [T, rotaryDim / 2] with N a multiple of T; row
     * r uses row r % T of the tables. The first rotaryDim elements of each head turn in pairs: (i, i + rotaryDim / 2) when
     * HALF, (2i, 2i + 1) when INTERLEAVED; (a, b) becomes (a cos - b sin, b cos + a sin).
     */
    void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout);

    /** How rotary pairs are laid out in a head. */
    enum RotaryLayout {
        HALF, INTERLEAVED
    }

    /**
     * Causal attention, per sequence and head: out = softmax(q k^T scale + bias) v. q [N, heads * headDim]; k, v [N, kvHeads *
     * headDim]; out F32 as q. q, k and v are F32, or all of one half-precision dtype, in which a device may then also round
     * the softmax's weights; scores and sums are F32. Query head h uses KV head h / (heads / kvHeads). With slopes F32 [1, heads], the ALiBi
     * bias slope[h] * (j - i) is added after scaling. With a window w > 0, query i sees keys i - w + 1 .. i only. Scores of
     * a whole batch never exist at one time.
     */
    void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out);

    /**
     * The sizes of an attention call.
     *
     * @param sequenceLength T; N is a multiple of it
     * @param scale multiplies q.k
     * @param window keys visible to a query, itself included; 0 for all before it
     */
    record AttentionShape(int sequenceLength, int heads, int kvHeads, int headDim, float scale, int window) {
        public AttentionShape {
            if (sequenceLength < 1 || heads < 1 || kvHeads < 1 || headDim < 1 || window < 0 || heads % kvHeads != 0) {
                throw new IllegalArgumentException("bad attention shape: T " + sequenceLength + ", heads " + heads
                        + ", kvHeads " + kvHeads + ", headDim " + headDim + ", window " + window);
            }
        }
    }

    /** x = f(x), in place. */
    void activate(Activation activation, Tensor x);

    /** gate = f(gate) * up, in place in gate. */
    void activateGated(Activation activation, Tensor gate, Tensor up);

    /** SILU x / (1 + e^-x); GELU with erf; GELU_TANH the tanh approximation; RELU max(x, 0). */
    enum Activation {
        SILU, GELU, GELU_TANH, RELU
    }

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
     * How far the next-token distribution of a student is from a teacher's: with p = softmax(teacher[r]) and q =
     * softmax(student[r]), kl[r] = sum_j p_j (log p_j - log q_j) in nats, accumulated in float64, and agrees[r] = 1 where
     * both rows have their maximum at the same token, of equal ones the first, else 0. Equal rows give exactly 0. teacher,
     * student F32 [N, V], finite; kl F64 [1, N]; agrees I32 [1, N]. A row with a NaN gives kl NaN and agrees 0.
     */
    void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees);

    /** count[0] = the number of elements of x (any float dtype) that are NaN or infinite: count I64 [1, 1]. */
    void countNonFinite(Tensor x, Tensor count);
}
