package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.getInt;
import static dev.optgptq.kernels.reference.Elements.set;
import static dev.optgptq.kernels.reference.Elements.setInt;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.MatrixOps;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The definition of MatrixOps: sums in float64, rounded to float32 once, at the end. */
final class ReferenceMatrixOps implements MatrixOps {

    @Override
    public void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        for (long n = 0; n < y.rows(); n++) {
            for (long o = 0; o < y.columns(); o++) {
                double sum = bias == null ? 0 : get(bias, 0, o);
                for (long i = 0; i < x.columns(); i++) {
                    sum += get(x, n, i) * get(w, o, i);
                }
                set(y, n, o, beta == 0 ? sum : sum + beta * get(y, n, o));
            }
        }
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        long inner = transposeA ? a.rows() : a.columns();
        for (long i = 0; i < c.rows(); i++) {
            for (long j = 0; j < c.columns(); j++) {
                double sum = 0;
                for (long k = 0; k < inner; k++) {
                    double left = transposeA ? get(a, k, i) : get(a, i, k);
                    sum += left * (transposeB ? get(b, j, k) : get(b, k, j));
                }
                set(c, i, j, beta == 0 ? alpha * sum : alpha * sum + beta * get(c, i, j));
            }
        }
    }

    @Override
    public void accumulateGram(float alpha, Tensor x, Tensor h) {
        for (long i = 0; i < h.rows(); i++) {
            for (long j = i; j < h.columns(); j++) {
                double sum = 0;
                for (long n = 0; n < x.rows(); n++) {
                    sum += get(x, n, i) * get(x, n, j);
                }
                set(h, i, j, get(h, i, j) + alpha * sum);
            }
        }
    }

    @Override
    public void symmetrize(Tensor h) {
        for (long i = 0; i < h.rows(); i++) {
            for (long j = 0; j < i; j++) {
                set(h, i, j, get(h, j, i));
            }
        }
    }

    @Override
    public void diagonal(Tensor h, Tensor out) {
        for (long i = 0; i < h.rows(); i++) {
            set(out, 0, i, get(h, i, i));
        }
    }

    @Override
    public void setDiagonal(Tensor h, Tensor values) {
        for (long i = 0; i < h.rows(); i++) {
            set(h, i, i, get(values, 0, i));
        }
    }

    @Override
    public boolean inverseFactor(Tensor h, Tensor u) {
        double[][] v = new double[Math.toIntExact(h.rows())][];
        return reversedCholesky(h, v) && invertUpper(v, u);
    }

    /** h = v v^T with v upper triangular, from the last column to the first; v[i][k - i] is the element (i, k). */
    private static boolean reversedCholesky(Tensor h, double[][] v) {
        int n = v.length;
        for (int i = 0; i < n; i++) {
            v[i] = new double[n - i];
        }
        for (int j = n - 1; j >= 0; j--) {
            double pivot = get(h, j, j) - dot(v, j, j, j + 1, n);
            if (!(pivot > 0) || Double.isInfinite(pivot)) {
                return false;
            }
            v[j][0] = Math.sqrt(pivot);
            for (int i = 0; i < j; i++) {
                v[i][j - i] = (get(h, i, j) - dot(v, i, j, j + 1, n)) / v[j][0];
            }
        }
        return true;
    }

    /** sum over k in [from, to) of v(i, k) v(j, k). */
    private static double dot(double[][] v, int i, int j, int from, int to) {
        double sum = 0;
        for (int k = from; k < to; k++) {
            sum += v[i][k - i] * v[j][k - j];
        }
        return sum;
    }

    /** u = v^-1, column by column by back substitution. */
    private static boolean invertUpper(double[][] v, Tensor u) {
        int n = v.length;
        double[] column = new double[n];
        for (int j = 0; j < n; j++) {
            column[j] = 1 / v[j][0];
            for (int i = j - 1; i >= 0; i--) {
                double sum = 0;
                for (int k = i + 1; k <= j; k++) {
                    sum += v[i][k - i] * column[k];
                }
                column[i] = -sum / v[i][0];
            }
            for (int i = 0; i < n; i++) {
                set(u, i, j, i <= j ? column[i] : 0);
            }
        }
        return true;
    }

    @Override
    public void transpose(Tensor source, Tensor target) {
        for (long i = 0; i < source.rows(); i++) {
            for (long j = 0; j < source.columns(); j++) {
                copyElements(source, i, j, target, j, i, 1);
            }
        }
    }

    @Override
    public void gatherRows(Tensor source, Tensor order, Tensor target) {
        for (long i = 0; i < target.rows(); i++) {
            long from = Objects.checkIndex(getInt(order, 0, i), source.rows());
            copyElements(source, from, 0, target, i, 0, source.columns());
        }
    }

    @Override
    public void gatherColumns(Tensor source, Tensor order, Tensor target) {
        for (long j = 0; j < target.columns(); j++) {
            long from = Objects.checkIndex(getInt(order, 0, j), source.columns());
            for (long i = 0; i < target.rows(); i++) {
                copyElements(source, i, from, target, i, j, 1);
            }
        }
    }

    @Override
    public void gatherSymmetric(Tensor source, Tensor order, Tensor target) {
        for (long i = 0; i < target.rows(); i++) {
            long row = Objects.checkIndex(getInt(order, 0, i), source.rows());
            for (long j = 0; j < target.columns(); j++) {
                set(target, i, j, get(source, row, Objects.checkIndex(getInt(order, 0, j), source.rows())));
            }
        }
    }

    @Override
    public void dot(Tensor a, Tensor b, Tensor result) {
        double sum = 0;
        for (long i = 0; i < a.rows(); i++) {
            for (long j = 0; j < a.columns(); j++) {
                sum += get(a, i, j) * get(b, i, j);
            }
        }
        set(result, 0, 0, sum);
    }

    @Override
    public void peak(Tensor x, Tensor peak) {
        double largest = get(peak, 0, 0);
        for (long i = 0; i < x.rows(); i++) {
            for (long j = 0; j < x.columns(); j++) {
                double size = Math.abs(get(x, i, j));
                largest = Double.isNaN(size) ? Double.POSITIVE_INFINITY : Math.max(largest, size);
            }
        }
        set(peak, 0, 0, largest);
    }

    @Override
    public void subtract(Tensor a, Tensor b, Tensor target) {
        for (long i = 0; i < a.rows(); i++) {
            for (long j = 0; j < a.columns(); j++) {
                set(target, i, j, get(a, i, j) - get(b, i, j));
            }
        }
    }

    @Override
    public void fill(Tensor target, float value) {
        for (long i = 0; i < target.rows(); i++) {
            for (long j = 0; j < target.columns(); j++) {
                if (target.dtype() == DType.I32) {
                    setInt(target, i, j, (int) value);
                } else {
                    set(target, i, j, value);
                }
            }
        }
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        for (long i = 0; i < source.rows(); i++) {
            copyElements(source, i, 0, target, i, 0, source.columns());
        }
    }

    private static void copyElements(Tensor source, long row, long column, Tensor target, long targetRow,
            long targetColumn, long count) {
        if (count > 0) {
            long size = source.dtype().bytes();
            MemorySegment.copy(source.memory(), (row * source.stride() + column) * size, target.memory(),
                    (targetRow * target.stride() + targetColumn) * size, count * size);
        }
    }
}
