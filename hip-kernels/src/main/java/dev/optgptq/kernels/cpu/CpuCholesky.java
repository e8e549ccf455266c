package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.blas.DoubleBlas.Strided;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.util.function.IntConsumer;

/**
 * Solves positive definite systems on several threads, by tiles: each is computed by one thread in a fixed order, so that the bits depend
 * on the matrices alone.
 */
record CpuCholesky(DoubleBlas blas, Parallel parallel) {

    private static final int TILE = 512;
    /** Right-hand sides that one thread solves for. */
    private static final int PANEL = 256;

    /**
     * Solves a x = b.
     *
     * @param a [n, n] of which the lower triangle is read, and overwritten
     * @param b [n, columns], replaced by x
     * @return false, with both undefined, where a is not positive definite
     */
    boolean solve(int n, int columns, Strided a, Strided b) {
        for (int k = 0; k < n; k += TILE) {
            if (!blas.cholesky(Math.min(TILE, n - k), a.at(k, k))) {
                return false;
            }
            eliminate(n, k, a);
        }
        inParts(columns, PANEL, column -> {
            Strided panel = b.at(0, column);
            int width = Math.min(PANEL, columns - column);
            blas.solveLeft(n, width, a, false, panel);
            blas.solveLeft(n, width, a, true, panel);
        });
        return true;
    }

    /** Right-looking: the tiles under the diagonal one at k, then what is left of the matrix. */
    private void eliminate(int n, int k, Strided a) {
        int next = k + TILE;
        inParts(Math.max(0, n - next), TILE,
                at -> blas.solveRight(Math.min(TILE, n - next - at), TILE, a.at(k, k),
                        a.at(next + at, k)));
        int tiles = Math.ceilDiv(Math.max(0, n - next), TILE);
        inParts(tiles * tiles, 1, index -> {
            int row = next + index / tiles * TILE;
            int column = next + index % tiles * TILE;
            if (row >= column) {
                blas.gemm(Math.min(TILE, n - row), Math.min(TILE, n - column), TILE, -1, a.at(row, k), false,
                        a.at(column, k), true, 1, a.at(row, column));
            }
        });
    }

    /** 0, part, 2 part and so on below size. */
    private void inParts(int size, int part, IntConsumer call) {
        parallel.forRanges(size, part, (from, to) -> call.accept((int) from));
    }
}
