package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedCacheOps implements CacheOps {

    private final CacheOps ops;

    public CheckedCacheOps(CacheOps ops) {
        this.ops = ops;
    }

    @Override
    public void append(Tensor k, Tensor v, Tensor slots, CachePages pages) {
        checkAppend("append", k, v, slots, pages);
        ops.append(k, v, slots, pages);
    }

    static void checkAppend(String op, Tensor k, Tensor v, Tensor slots, CachePages pages) {
        long width = (long) pages.kvHeads() * pages.headDim();
        Arguments.f32(op, "k", k, k.rows(), width);
        Arguments.f32(op, "v", v, k.rows(), width);
        Arguments.shaped(op, "slots", slots, DType.I32, 1, k.rows());
        check(op, pages);
    }

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        checkAttend(q, pages, rows, slopes, sinks, shape, out);
        ops.attend(q, pages, rows, slopes, sinks, shape, out);
    }

    static void checkAttend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        Arguments.f32("attend", "q", q, q.rows(), (long) shape.heads() * shape.headDim());
        Arguments.f32("attend", "out", out, q.rows(), q.columns());
        if (slopes != null) {
            Arguments.f32("attend", "slopes", slopes, 1, shape.heads());
        }
        if (sinks != null) {
            Arguments.f32("attend", "sinks", sinks, 1, shape.heads());
        }
        long sequences = rows.sequences();
        Arguments.shaped("attend", "table", rows.table(), DType.I32, sequences, rows.table().columns());
        Arguments.shaped("attend", "lengths", rows.lengths(), DType.I32, 1, sequences);
        Arguments.shaped("attend", "starts", rows.starts(), DType.I32, 1, sequences + 1);
        if (pages.kvHeads() != shape.kvHeads() || pages.headDim() != shape.headDim()) {
            throw new IllegalArgumentException(
                    "attend: pages: expected " + shape.kvHeads() + " heads of " + shape.headDim()
                            + ", found " + pages.kvHeads() + " of " + pages.headDim());
        }
        check("attend", pages);
    }

    private static void check(String op, CachePages pages) {
        CacheType type = pages.type();
        long rows = pages.keys().rows();
        long columns = (long) CachePages.TOKENS * type.width(pages.headDim());
        if (rows % pages.kvHeads() != 0) {
            throw new IllegalArgumentException(
                    op + ": keys: expected rows for " + pages.kvHeads() + " heads of each page, found " + pages.keys());
        }
        Arguments.shaped(op, "keys", pages.keys(), type.dtype(), rows, columns);
        Arguments.shaped(op, "values", pages.values(), type.dtype(), rows, columns);
        if (type.isQuantized()) {
            grids(op, "keyGrids", pages.keyGrids(), rows);
            grids(op, "valueGrids", pages.valueGrids(), rows);
        }
    }

    private static void grids(String op, String name, @Nullable Tensor grids, long rows) {
        if (grids == null) {
            throw new IllegalArgumentException(
                    op + ": " + name + ": expected scales and minima beside codes, found none");
        }
        Arguments.shaped(op, name, grids, DType.F16, rows, (long) CachePages.TOKENS * CacheType.GRID);
    }

    @Override
    public void rotaryAt(Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions,
            NeuralOps.RotaryLayout layout) {
        checkRotary("rotaryAt", "x", x, headDim, cos, sin, positions);
        ops.rotaryAt(x, headDim, cos, sin, positions, layout);
    }

    static void checkRotary(String op, String name, Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions) {
        Arguments.f32(op, name, x, x.rows(), x.columns());
        Arguments.f32(op, "cos", cos, cos.rows(), cos.columns());
        Arguments.f32(op, "sin", sin, cos.rows(), cos.columns());
        Arguments.shaped(op, "positions", positions, DType.I32, 1, x.rows());
        if (headDim < 1 || x.columns() % headDim != 0 || 2 * cos.columns() > headDim) {
            throw new IllegalArgumentException(
                    op + ": heads of " + headDim + " do not fit " + name + " " + x + " and cos " + cos);
        }
    }

    @Override
    public void argmax(Tensor logits, Tensor ids) {
        Arguments.f32("argmax", "logits", logits, logits.rows(), Math.max(1, logits.columns()));
        Arguments.shaped("argmax", "ids", ids, DType.I32, 1, logits.rows());
        ops.argmax(logits, ids);
    }
}
