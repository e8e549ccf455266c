package dev.optgptq.kernels.cpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.blas.OpenBlas;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;

/**
 * u with u^T u = h^-1, in u's own memory. With J the reversal of order, J h J = l l^T (Cholesky, l lower triangular) gives
 * h = (J l J) (J l J)^T and so u = J l^-1 J. Both steps go by square tiles in a fixed order, the tiles of one step in
 * parallel. Beside u they need one row of tiles.
 */
final class CpuInverseFactor {

    /** Edge of a tile: its triangle fits in the second-level cache, and a product of tiles is worth a task. */
    private static final long TILE = 256;

    private final OpenBlas blas;
    private final Parallel parallel;
    private final Supplier<TensorArena> scratch;

    CpuInverseFactor(OpenBlas blas, Parallel parallel, Supplier<TensorArena> scratch) {
        this.blas = blas;
        this.parallel = parallel;
        this.scratch = scratch;
    }

    boolean compute(Tensor h, Tensor u) {
        Squares.reverseLower(parallel, h, u);
        if (!cholesky(u)) {
            return false;
        }
        if (!invert(u)) {
            return false;
        }
        Squares.reverseInPlace(parallel, u);
        return true;
    }

    private static long tiles(Tensor a) {
        return Math.ceilDiv(a.rows(), TILE);
    }

    /** The tile in row i and column j of tiles. */
    private static Tensor tile(Tensor a, long i, long j) {
        return block(a, i, i + 1, j, j + 1);
    }

    /** The tiles in rows [fromRow, toRow) and columns [fromColumn, toColumn) of tiles. */
    private static Tensor block(Tensor a, long fromRow, long toRow, long fromColumn, long toColumn) {
        long row = fromRow * TILE;
        long column = fromColumn * TILE;
        return a.rows(row, Math.min(toRow * TILE, a.rows()) - row).columns(column,
                Math.min(toColumn * TILE, a.columns()) - column);
    }

    /**
     * a = l l^T in the lower triangle, column of tiles by column of tiles: subtract what the columns to the left
     * contribute, factor the diagonal tile, solve for the tiles below it.
     */
    private boolean cholesky(Tensor a) {
        long count = tiles(a);
        for (long column = 0; column < count; column++) {
            long j = column;
            parallel.forEach(count - j, below -> {
                long i = j + below;
                if (j > 0 && i == j) {
                    blas.subtractGramLower(block(a, j, j + 1, 0, j), tile(a, j, j));
                } else if (j > 0) {
                    blas.gemm(-1f, block(a, i, i + 1, 0, j), false, block(a, j, j + 1, 0, j), true, 1f, tile(a, i, j));
                }
            });
            Tensor pivot = tile(a, j, j);
            if (!blas.choleskyLower(pivot) || !diagonalIsPositive(pivot)) {
                return false;
            }
            parallel.forEach(count - j - 1, below -> blas.solveRightTransposed(pivot, tile(a, j + 1 + below, j)));
        }
        return true;
    }

    /** LAPACK lets NaN pass, and infinity too. */
    private static boolean diagonalIsPositive(Tensor l) {
        for (long i = 0; i < l.rows(); i++) {
            float value = l.memory().get(Memory.FLOAT, Memory.row(l, i) + 4 * i);
            if (!(value > 0) || Float.isInfinite(value)) {
                return false;
            }
        }
        return true;
    }

    /**
     * l = l^-1 in place, row of tiles by row of tiles: with X the inverse, X_ii = l_ii^-1 and X_ij = -X_ii sum_{k = j}^{i
     * - 1} l_ik X_kj. The row of l is put aside, since X overwrites it.
     */
    private boolean invert(Tensor l) {
        long count = tiles(l);
        AtomicBoolean regular = new AtomicBoolean(true);
        parallel.forEach(count, i -> {
            if (!blas.invertLower(tile(l, i, i))) {
                regular.set(false);
            }
        });
        if (!regular.get()) {
            return false;
        }
        try (TensorArena arena = scratch.get()) {
            Tensor aside = arena.matrix(DType.F32, Math.min(TILE, l.rows()), l.columns());
            for (long row = 1; row < count; row++) {
                long i = row;
                Tensor left = aside.rows(0, tile(l, i, i).rows()).columns(0, i * TILE);
                CpuCopies.copy(parallel, block(l, i, i + 1, 0, i), left);
                // The longest sums first, so that the last tasks are short.
                parallel.forEach(i, j -> {
                    Tensor target = tile(l, i, j);
                    blas.gemm(1f, left.columns(j * TILE, (i - j) * TILE), false, block(l, j, i, j, j + 1), false, 0f,
                            target);
                    blas.multiplyLeft(-1f, tile(l, i, i), target);
                });
            }
        }
        return true;
    }
}
