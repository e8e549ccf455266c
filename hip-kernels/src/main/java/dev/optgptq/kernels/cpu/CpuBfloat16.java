package dev.optgptq.kernels.cpu;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device.Halves;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.OneDnn;
import dev.optgptq.kernels.cpu.CpuGemm.Tiling;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.host.HostDevice;
import java.lang.foreign.Arena;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Matmuls of BF16 where the CPU has instructions for them: oneDNN's on tiles of the result, each with its whole inner
 * dimension and on one thread. The tiles depend only on the shape. The library is looked for when it is first needed.
 */
final class CpuBfloat16 implements HostDevice.HalfMatmuls {

    /** oneDNN 3.8 has kernels of their own for results of one column, which ignore the strides of views. */
    private static final long FEWEST_COLUMNS = 2;
    private static final long EDGE_STEP = 16;
    private static final long ALIGNMENT = 64;

    private final Parallel parallel;
    private @Nullable Found found;

    CpuBfloat16(Parallel parallel) {
        this.parallel = parallel;
    }

    /**
     * What was found.
     *
     * @param oneDnn null if there is none to gain from
     * @param said what it is, or why there is none
     */
    private record Found(@Nullable OneDnn oneDnn, String said) {}

    private synchronized Found found() {
        Found known = found;
        if (known == null) {
            known = look();
            found = known;
        }
        return known;
    }

    private static Found look() {
        try {
            OneDnn library = OneDnn.load();
            return new Found(library, library.description());
        } catch (UserError e) {
            return new Found(null, String.valueOf(e.getMessage()));
        }
    }

    @Override
    public Halves halves(DType half) {
        return half == DType.BF16 && isFast() ? Halves.VECTOR : Halves.WIDENED;
    }

    @Override
    public String remark(DType half) {
        return half == DType.BF16 ? found().said() : "no instructions for float16 are used";
    }

    private boolean isFast() {
        return found().oneDnn() != null;
    }

    /** Whether x w^T is a product for the library: a small one is more exact in float64, and no slower. */
    boolean takesLinear(Tensor x, Tensor w) {
        return x.dtype() == DType.BF16 && x.elements() > 0 && w.rows() >= FEWEST_COLUMNS
                && !CpuSmallGemm.takes(x.rows(), w.rows(), x.columns()) && isFast();
    }

    /** Whether x^T x is one. */
    boolean takesGram(Tensor x) {
        return x.dtype() == DType.BF16 && x.rows() > 0 && x.columns() >= FEWEST_COLUMNS && isFast();
    }

    /** y = x w^T + bias + beta y, of what takesLinear took. */
    void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        OneDnn library = Objects.requireNonNull(found().oneDnn());
        Tiling even = Tiling.of(y.rows(), y.columns());
        Tiling tiling = new Tiling(y.rows(), y.columns(), even.tileRows(), edge(y.columns(), even.tileColumns()));
        parallel.forEach(tiling.count(), tile -> {
            Tensor part = tiling.of(tile, y);
            long column = tiling.firstColumn(tile);
            if (bias != null) {
                CpuGemm.startWithBias(bias.columns(column, part.columns()), beta, part);
            } else if (beta != 0 && beta != 1) {
                for (long row = 0; row < part.rows(); row++) {
                    CpuLimits.scaleRow(part.memory(), Memory.row(part, row), beta, Math.toIntExact(part.columns()));
                }
            }
            library.multiply(x.rows(tiling.firstRow(tile), part.rows()), false, w.rows(column, part.columns()), true,
                    bias != null || beta != 0, part);
        });
    }

    /** h += alpha x^T x in the upper triangle, of what takesGram took. */
    void accumulateGram(float alpha, Tensor x, Tensor h) {
        OneDnn library = Objects.requireNonNull(found().oneDnn());
        long n = h.rows();
        long edge = edge(n, CpuGram.stripRows(n));
        long strips = Math.ceilDiv(n, edge);
        // The squares on and above the diagonal, one column of squares after the other.
        parallel.forEach(strips * (strips + 1) / 2, task -> {
            long across = (long) ((Math.sqrt(8.0 * task + 1) - 1) / 2);
            long row = (task - across * (across + 1) / 2) * edge;
            long column = across * edge;
            Tensor target = h.rows(row, Math.min(edge, n - row)).columns(column, Math.min(edge, n - column));
            // Confined: closing a shared arena stops every thread of the JVM.
            try (Arena arena = Arena.ofConfined()) {
                Tensor product = Tensor.dense(DType.F32, target.rows(), target.columns(),
                        arena.allocate(Float.BYTES * target.elements(), ALIGNMENT));
                library.multiply(x.columns(row, target.rows()), true, x.columns(column, target.columns()), false,
                        false, product);
                addUpper(alpha, product, row == column, target);
            }
        });
    }

    /** A tile's edge, about this long, that leaves no tile of a single column. */
    private static long edge(long size, long wanted) {
        long edge = wanted;
        while (size % edge == 1) {
            edge += EDGE_STEP;
        }
        return edge;
    }

    /** target += alpha product, on the diagonal without what is below it. */
    private static void addUpper(float alpha, Tensor product, boolean diagonal, Tensor target) {
        for (long row = 0; row < target.rows(); row++) {
            long from = diagonal ? row : 0;
            CpuElementwise.addScaledRow(target.memory(), Memory.row(target, row) + 4 * from, alpha, product.memory(),
                    Memory.row(product, row) + 4 * from, Math.toIntExact(target.columns() - from));
        }
    }
}
