package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The ops of quantization. Weights are laid out as in the packed formats, one row per input: wt F32 [in, out] is W^T.
 * Then neighbouring outputs, which are independent of each other, are neighbours in memory, for vector lanes and GPU
 * threads alike. codes U8 [in, out]; scales F32 [G, out]; zeros I32 [G, out].
 *
 * <p>
 * These ops compute in float32 with one rounding per operation and sums in the order of the inputs (Grid says how), and
 * every device gives the same bits: codes decide what a checkpoint holds. Only linearPacked does not affect a
 * checkpoint and may sum in any order, the same one every time.
 */
public interface QuantOps {

    /** Fits one group per output: wt F32 [g, out] (the group's inputs), scales F32 [1, out], zeros I32 [1, out]. */
    void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros);

    /**
     * Searches the scale of one group per output: of ScaleSearch's candidates the first with the least sum over inputs of
     * importance[i] (w[i] - v)^2, where v = scale * clamp(round(w[i] * (1 / scale)), -zero, maxCode - zero). wt F32 [g,
     * out], importance F32 [1, g], not negative, such as the Hessian's diagonal; scales F32 [1, out], zeros I32 [1, out].
     */
    void searchScale(Grid grid, Tensor wt, Tensor importance, Tensor scales, Tensor zeros);

    /**
     * Round to nearest: codes of wt F32 [in, out] under given grids. groupOf I32 [1, in] is the row of scales and zeros
     * that an input uses.
     */
    void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes);

    /** out[i, o] = scales[groupOf[i], o] * (codes[i, o] - zeros[groupOf[i], o]), F32, the product rounded once. */
    void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out);

    /**
     * Unpacks and dequantizes a GPTQ layer (the definition is formats.packed): qweight I32 [in * bits / 32, out], qzeros
     * I32 [G, out * bits / 32], scales F16 [G, out], groupOf I32 [1, in], out F32 [in, out]; zeroOffset is added to the
     * stored zero points, modulo 2^bits.
     */
    void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out);

    /**
     * The weights of a packed layer as they are in a GPTQ checkpoint (the definition is formats.packed).
     *
     * @param bits of a code: 2, 3, 4 or 8
     * @param zeroOffset added to the stored zero points, modulo 2^bits
     * @param qweight I32 [in * bits / 32, out]
     * @param qzeros I32 [G, out * bits / 32]
     * @param scales F16 [G, out]
     * @param groupOf I32 [1, in]: the group of each input, each in [0, G), in any order
     * @param groupSize where groupOf[i] is i / groupSize for every input; 0 where it is not, or may not be
     */
    record PackedWeights(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            int groupSize) {

        /** With an unknown order of groups. */
        public PackedWeights(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf) {
            this(bits, zeroOffset, qweight, qzeros, scales, groupOf, 0);
        }

        public long inputs() {
            return groupOf.columns();
        }

        public long outputs() {
            return scales.columns();
        }
    }

    /**
     * y = x W^T + bias + beta y straight from the packed weights: x F32, F16 or BF16 [N, in], bias F32 [1, out], y F32 [N,
     * out]; beta 0 never reads y. W is the result of dequantizePacked; a scale times a code is exact in float32. With x
     * in fp16/bf16 a device may round W to that dtype, when many rows make dequantizing it first worthwhile.
     */
    void linearPacked(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y);

    /**
     * Several linears of the same inputs: what linearPacked gives for each with beta 0, to the bit, in fewer launches
     * where a device can.
     *
     * @param x [N, in], as in linearPacked; every y is F32 [N, its outputs]
     */
    default void linearsPacked(List<PackedProduct> products, Tensor x) {
        products.forEach(each -> linearPacked(each.weights(), x, each.bias(), 0, each.y()));
    }

    /** One of several linears: y = x W^T + bias. */
    record PackedProduct(PackedWeights weights, @Nullable Tensor bias, Tensor y) {}

    /**
     * Packs codes U8 [in, out], each below 2^bits, to qweight I32 [in * bits / 32, out] (the definition is
     * formats.packed).
     */
    void packCodes(int bits, Tensor codes, Tensor qweight);

    /** crc[0] = CRC-32C (RFC 3720, appendix B.4) of codes U8 [r, c], row after row: crc I32 [1, 1], its 32 bits. */
    void checksum(Tensor codes, Tensor crc);

    /**
     * Quantizes a block of inputs with error feedback (GPTQ paper, algorithm 1, inner loop; docs/algorithms.md, section 3): for each
     * row i of the block in order
     *
     * <pre>
     *   if fitEvery > 0 and i % fitEvery == 0: fit the grid of group i / fitEvery from the current rows i .. i + fitEvery
     *   codes[i] = code of wt[i];   e = (wt[i] - dequantized) / u[i, i];   errors[i] = e
     *   wt[j] -= u[i, j] e  for j > i in the block, each a fused multiply-add
     * </pre>
     */
    void solveBlock(BlockProblem problem);

    /**
     * The arguments of solveBlock; b inputs, m outputs.
     *
     * @param grid the grid of the codes
     * @param wt F32 [b, m], the block's weights with the errors of all earlier blocks applied; overwritten: row i ends
     *     as the weights before they were rounded to codes[i]
     * @param u F32 [b, b], the block's diagonal part of the inverse factor, upper triangular
     * @param scales F32 [G, m]: given, or written when fitEvery > 0
     * @param zeros I32 [G, m], likewise
     * @param groupOf I32 [1, b]: the row of scales for each input; with fitEvery > 0 it is i / fitEvery
     * @param fitEvery group size to fit as groups are reached, dividing b or the last group short; 0 when grids are given
     * @param codes U8 [b, m], written
     * @param errors F32 [b, m], written: the errors for the trailing update
     */
    record BlockProblem(Grid grid, Tensor wt, Tensor u, Tensor scales, Tensor zeros, Tensor groupOf, int fitEvery,
            Tensor codes, Tensor errors) {}

    /** The most inputs of a block of descendCodes: as many as a GPU holds in registers. */
    int DESCENT_INPUTS = 128;

    /**
     * One sweep of coordinate descent over a block of inputs (GuidedQuant, arXiv 2505.07004, section 4; docs/algorithms.md, section 7): with the
     * errors d = q - w of an output and the objective d^T h d, each code in order is set to its best value with all
     * others fixed. With g = h d, for each row i of the block in order
     *
     * <pre>
     *   v = scale (codes[i] - zero);  c = code of v - g[i] / h[i, i];  move = scale (c - zero) - v
     *   unless move (2 g[i] + h[i, i] move) < 0: c = codes[i], move = 0      (only what lowers the objective)
     *   codes[i] = c;  errors[i] += move;  g[j] += h[i, j] move  for j > i in the block, each a fused multiply-add
     * </pre>
     *
     * A v - g[i] / h[i, i] that is NaN moves nothing.
     */
    void descendCodes(DescentProblem problem);

    /**
     * The arguments of descendCodes; b inputs, at most DESCENT_INPUTS, m outputs.
     *
     * @param h F32 [b, b], the block's diagonal part of the objective's matrix; not read below the diagonal
     * @param gradient F32 [b, m], the block's rows of h d over all inputs, as they are before the block; not written
     * @param scales F32 [G, m]
     * @param zeros I32 [G, m]
     * @param groupOf I32 [1, b]: the row of scales for each input
     * @param codes U8 [b, m], moved
     * @param errors F32 [b, m], the block's rows of d, which follow
     */
    record DescentProblem(Grid grid, Tensor h, Tensor gradient, Tensor scales, Tensor zeros, Tensor groupOf,
            Tensor codes, Tensor errors) {}

    /**
     * Sums over groups with the codes as weights, per output: sums[g] = sum over the inputs i of group g, in order, of (codes[i]
     * - zeros[g]) values[i], the products rounded first. Groups are runs of groupSize inputs, the last may be short. codes U8
     * [in, out], zeros I32 [G, out], values F32 [in, out], sums F32 [G, out], G = ceil(in / groupSize).
     */
    void groupSums(int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums);

    /**
     * The optimal scales of all groups of an output jointly, for its codes, as the format stores them. The columns of A
     * are the codes minus zeros, one for each group, so that moving the scales by y changes the objective d^T h d by
     * y^T N y + 2 y^T r with N = A^T h A and r = A^T h d. Per output:
     *
     * <pre>
     *   N[j, j] += 2^-20 N[j, j]                                    (a ridge: moves that gain nothing are not made)
     *   for j ascending, for i > j ascending: f = N[j, i] / N[j, j];  N[i, k] -= f N[j, k] for k >= i;  r[i] -= f r[j]
     *   for j descending: c = r[j] + sum over k > j ascending of N[j, k] y[k];  c = -c / N[j, j]
     *     s[j] = scale[j] + c, rounded to the grid's scale type;  y[j] = s[j] - scale[j];  left += N[j, j] (y[j] - c)^2
     *     gained += r[j]^2 / N[j, j]
     *   where left < gained: scale = s
     * </pre>
     *
     * Gaussian elimination; then each scale is solved for including the rounding errors of those before it, which is
     * Babai's nearest plane, as GPTQ does with codes (arXiv 2507.18553). Products that are added are fused
     * multiply-adds, all else is rounded once. A scale with a pivot that is not positive, or an s that Grid.isScale
     * refuses, stays: f and y are 0 and it counts with the y it has, or not at all without a pivot. left < gained means
     * that the objective falls.
     */
    void refitScales(RefitProblem problem);

    /**
     * The arguments of refitScales; G groups, m outputs.
     *
     * @param normal F32 [G * G, m], N with element (j, k) in row k * G + j; read where j <= k, and overwritten there
     * @param slope F32 [G, m], r; overwritten
     * @param scales F32 [G, m], moved
     */
    record RefitProblem(Grid grid, Tensor normal, Tensor slope, Tensor scales) {}

    /** The relative ridge of a pivot of refitScales. */
    float RIDGE = 0x1p-20f;
}
