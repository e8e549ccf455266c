package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;

/**
 * The sequences of a batch's rows. Row r of sequence s, starts[s] <= r < starts[s + 1], has position lengths[s] -
 * (starts[s + 1] - r), so that the last row is the sequence's last token.
 *
 * @param table I32 [S, most pages of a sequence]: the pages of each sequence in order; entries beyond its length are
 *     not read
 * @param lengths I32 [1, S]: tokens of each sequence, its rows included
 * @param starts I32 [1, S + 1]: the first row of each sequence, from 0, and N
 * @param mostRows maximum rows of a sequence; known to the host without a download
 */
public record CacheRows(Tensor table, Tensor lengths, Tensor starts, int mostRows) {

    /** S. */
    public long sequences() {
        return table.rows();
    }
}
