package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/**
 * The ops of generation, whose keys and values stay in pages (Kwon et al., arXiv 2309.06180, section 4). A batch holds rows of
 * several sequences: N rows (tokens) of S sequences.
 */
public interface CacheOps {

    /**
     * Stores keys and values. k, v F32 [N, kvHeads * headDim]; slots I32 [1, N]: page * 16 + the token's place in it, all
     * different, or -1 for a row that is not stored. Float pages round to nearest even. Codes, for each row and head, in
     * float32 with one rounding per operation:
     *
     * <pre>
     *   low = min x, high = max x over the head;  scale = F16((high - low) / maxCode);  minimum = F16(low)
     *   code = clamp(round((x - minimum) / scale), 0, maxCode), half to even; 0 where scale is 0
     * </pre>
     *
     * scale and minimum are clamped to F16's range, 65504. A code stands for scale * code + minimum.
     */
    void append(Tensor k, Tensor v, Tensor slots, CachePages pages);

    /**
     * Attention over pages: out = softmax(q k^T scale + bias) v, for the rows of each sequence over all its tokens up to
     * themselves. The same definition covers decoding (one row), a prompt in chunks, and a prompt with a cached prefix.
     * q, out F32 [N, heads * headDim]; query head h uses KV head h / (heads / kvHeads). Keys and values of the rows
     * have been appended. A device may round queries and the softmax's weights to the fp16/bf16 dtype of the pages, or
     * to F16 with codes. A row's result does not depend on the other rows, to the bit.
     *
     * @param slopes F32 [1, heads], or null: the ALiBi bias slope[h] * (j - i) is added after scaling and capping
     * @param sinks F32 [1, heads], or null: one more score of every softmax, whose weight multiplies no value
     */
    void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out);

    /** As NeuralOps.rotary, where row r uses row positions[r] of the tables: positions I32 [1, N], each in the tables. */
    void rotaryAt(Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions, RotaryLayout layout);

    /**
     * ids[r] = the column of the largest element of a row, of equal ones the first; -1 where a row holds NaN or an infinity.
     * logits F32 [N, V], V at least 1; ids I32 [1, N].
     */
    void argmax(Tensor logits, Tensor ids);
}
