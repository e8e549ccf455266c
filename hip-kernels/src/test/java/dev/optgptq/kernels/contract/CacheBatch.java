package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.ops.CachePages;
import java.util.List;

/**
 * Sequences and where their pages lie: scattered, as a pool leaves them.
 *
 * @param common pages that all sequences share
 */
record CacheBatch(List<Sequence> all, int common) {

    /** Pages are this many apart, in a pool whose size it does not divide. */
    private static final int STEP = 7;

    /**
     * One of them.
     *
     * @param length tokens
     * @param rows of them in the batch, the last ones
     */
    record Sequence(int length, int rows) {

        int pages() {
            return Math.ceilDiv(length, CachePages.TOKENS);
        }

        @Override
        public String toString() {
            return rows + " of " + length;
        }
    }

    static CacheBatch apart(Sequence... sequences) {
        return new CacheBatch(List.of(sequences), 0);
    }

    /** All of them begin with the same pages. */
    static CacheBatch forked(int common, Sequence... sequences) {
        return new CacheBatch(List.of(sequences), common);
    }

    long sequences() {
        return all.size();
    }

    long rows() {
        return start(all.size());
    }

    int start(long sequence) {
        return all.stream().limit(sequence).mapToInt(Sequence::rows).sum();
    }

    int length(long sequence) {
        return all.get((int) sequence).length();
    }

    int mostRows() {
        return all.stream().mapToInt(Sequence::rows).max().orElse(0);
    }

    /** One more than the longest needs, which is never read. */
    int tableColumns() {
        return all.stream().mapToInt(Sequence::pages).max().orElse(0) + 1;
    }

    /** Of the pool: more than are in use, and no multiple of the step. */
    int pages() {
        int used = all.stream().mapToInt(Sequence::pages).sum() + 3;
        return used % STEP == 0 ? used + 1 : used;
    }

    int page(long sequence, long index) {
        if (index >= all.get((int) sequence).pages()) {
            return -1;
        }
        int order = index < common
                ? (int) index
                : all.stream().limit(sequence).mapToInt(Sequence::pages).sum() + (int) index;
        return (int) ((long) order * STEP % pages());
    }
}
