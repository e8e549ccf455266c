package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.MatrixOps;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.OpenBlas;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Products and factorisations by OpenBLAS, each tile on one thread. The tiles follow from the shapes alone, so results do
 * not depend on the number of threads.
 */
final class CpuMatrixOps implements MatrixOps {

    /** Results of at least this many rows are cut into tall tiles, which pack the other operand least often. */
    private static final long TALL = 1024;
    private static final long TALL_ROWS = 512;
    private static final long TALL_COLUMNS = 1024;
    private static final long FLAT_ROWS = 128;
    private static final long FLAT_COLUMNS = 256;
    /** Tile edge of a large Gram matrix. */
    private static final long GRAM_TILE = 512;
    /** Rows that one task of a copying or element-wise op takes. */
    private static final long ROWS = 64;

    private final Parallel parallel;
    private final OpenBlas blas;

    CpuMatrixOps(Parallel parallel, OpenBlas blas) {
        this.parallel = parallel;
        this.blas = blas;
    }

    @Override
    public void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        gemm(1, x, false, w, true, beta, y);
        if (bias != null) {
            parallel.forRanges(y.rows(), ROWS, (from, to) -> {
                for (long row = from; row < to; row++) {
                    MatrixRows.add(y.rows(row, 1), bias);
                }
            });
        }
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        boolean tall = c.rows() >= TALL;
        long tileRows = tall ? TALL_ROWS : FLAT_ROWS;
        long tileColumns = tall ? TALL_COLUMNS : FLAT_COLUMNS;
        long down = Math.ceilDiv(c.rows(), tileRows);
        long across = Math.ceilDiv(c.columns(), tileColumns);
        parallel.forEach(down * across, tile -> {
            long row = tile / across * tileRows;
            long column = tile % across * tileColumns;
            long rows = Math.min(tileRows, c.rows() - row);
            long columns = Math.min(tileColumns, c.columns() - column);
            blas.gemm(alpha, transposeA ? a.columns(row, rows) : a.rows(row, rows), transposeA,
                    transposeB ? b.rows(column, columns) : b.columns(column, columns), transposeB, beta,
                    c.rows(row, rows).columns(column, columns));
        });
    }

    @Override
    public void accumulateGram(float alpha, Tensor x, Tensor h) {
        long n = h.rows();
        // Two by two tiles of a small matrix: two triangles weigh as much as the square beside them.
        long tile = n <= 2 * GRAM_TILE ? Math.ceilDiv(Math.max(n, 1), 2) : GRAM_TILE;
        long tiles = Math.ceilDiv(n, tile);
        parallel.forEach(tiles * (tiles + 1) / 2, index -> {
            long row = 0;
            long rest = index;
            while (rest >= tiles - row) {
                rest -= tiles - row;
                row++;
            }
            gramTile(alpha, x, h, row * tile, (row + rest) * tile, tile);
        });
    }

    private void gramTile(float alpha, Tensor x, Tensor h, long row, long column, long tile) {
        Tensor left = x.columns(row, Math.min(tile, h.rows() - row));
        Tensor right = x.columns(column, Math.min(tile, h.rows() - column));
        Tensor target = h.rows(row, left.columns()).columns(column, right.columns());
        if (row == column) {
            blas.gramUpper(alpha, left, target);
        } else {
            blas.gemm(alpha, left, true, right, false, 1, target);
        }
    }

    @Override
    public void symmetrize(Tensor h) {
        parallel.forRanges(h.rows(), ROWS, (from, to) -> {
            for (long i = from; i < to; i++) {
                for (long j = 0; j < i; j++) {
                    MatrixRows.set(h, i, j, MatrixRows.get(h, j, i));
                }
            }
        });
    }

    @Override
    public void diagonal(Tensor h, Tensor out) {
        for (long i = 0; i < h.rows(); i++) {
            MatrixRows.set(out, 0, i, MatrixRows.get(h, i, i));
        }
    }

    @Override
    public void setDiagonal(Tensor h, Tensor values) {
        for (long i = 0; i < h.rows(); i++) {
            MatrixRows.set(h, i, i, MatrixRows.get(values, 0, i));
        }
    }

    @Override
    public boolean inverseFactor(Tensor h, Tensor u) {
        long n = h.rows();
        parallel.forRanges(n, ROWS, (from, to) -> {
            for (long i = from; i < to; i++) {
                for (long j = 0; j < n; j++) {
                    // With both orders reversed, v v^T with v upper is an ordinary l l^T with l lower triangular.
                    MatrixRows.set(u, i, j, j <= i ? MatrixRows.get(h, n - 1 - i, n - 1 - j) : 0);
                }
            }
        });
        if (!blas.choleskyLower(u) || !blas.invertLower(u)) {
            return false;
        }
        reverse(u);
        return true;
    }

    /** u[i, j] <-> u[n-1-i, n-1-j], in place. */
    private void reverse(Tensor u) {
        long n = u.rows();
        parallel.forRanges(n / 2, ROWS, (from, to) -> {
            for (long i = from; i < to; i++) {
                MatrixRows.swapReversed(u, i, n - 1 - i, n);
            }
        });
        if (n % 2 == 1) {
            MatrixRows.swapReversed(u, n / 2, n / 2, n / 2);
        }
    }

    @Override
    public void transpose(Tensor source, Tensor target) {
        parallel.forRanges(target.rows(), ROWS, (from, to) -> MatrixRows.transpose(source, target, from, to));
    }

    @Override
    public void gatherRows(Tensor source, Tensor order, Tensor target) {
        parallel.forRanges(target.rows(), ROWS, (from, to) -> {
            for (long i = from; i < to; i++) {
                MatrixRows.copy(source, MatrixRows.index(order, i, source.rows()), target, i);
            }
        });
    }

    @Override
    public void gatherSymmetric(Tensor source, Tensor order, Tensor target) {
        long n = target.rows();
        parallel.forRanges(n, ROWS, (from, to) -> {
            for (long i = from; i < to; i++) {
                long row = MatrixRows.index(order, i, source.rows());
                for (long j = 0; j < n; j++) {
                    MatrixRows.set(target, i, j,
                            MatrixRows.get(source, row, MatrixRows.index(order, j, source.rows())));
                }
            }
        });
    }

    @Override
    public void dot(Tensor a, Tensor b, Tensor result) {
        double[] sums = new double[Math.toIntExact(Math.ceilDiv(a.rows(), ROWS))];
        parallel.forRanges(a.rows(), ROWS, (from, to) -> {
            double sum = 0;
            for (long row = from; row < to; row++) {
                sum += MatrixRows.dot(a, b, row);
            }
            sums[(int) (from / ROWS)] = sum;
        });
        result.memory().set(Memory.DOUBLE, 0, Arrays.stream(sums).sum());
    }

    @Override
    public void subtract(Tensor a, Tensor b, Tensor target) {
        parallel.forRanges(a.rows(), ROWS, (from, to) -> {
            for (long row = from; row < to; row++) {
                for (long column = 0; column < a.columns(); column++) {
                    MatrixRows.set(target, row, column, MatrixRows.get(a, row, column) - MatrixRows.get(b, row, column));
                }
            }
        });
    }

    @Override
    public void fill(Tensor target, float value) {
        parallel.forRanges(target.rows(), ROWS, (from, to) -> {
            for (long row = from; row < to; row++) {
                MatrixRows.fill(target, row, value);
            }
        });
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        parallel.forRanges(target.rows(), ROWS, (from, to) -> {
            for (long row = from; row < to; row++) {
                MatrixRows.copy(source, row, target, row);
            }
        });
    }
}
