package dev.optgptq.kernels.host;

import dev.optgptq.kernels.Grid;
import dev.optgptq.kernels.GridFit;
import dev.optgptq.kernels.QuantOps;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Objects;

/**
 * QuantOps as scalar loops in float32, as the grid defines them. Outputs are independent of each other, so any split of
 * the columns gives the same bits; how columns are shared among threads is the device's affair.
 */
public final class HostQuantOps implements QuantOps {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    private final ColumnRanges ranges;

    /** Runs a body over ranges of columns that cover [0, columns). */
    @FunctionalInterface
    public interface ColumnRanges {
        void over(long columns, Body body);

        /** Columns [from, to). */
        @FunctionalInterface
        interface Body {
            void accept(int from, int to);
        }
    }

    /** @param ranges how columns are shared among threads */
    public HostQuantOps(ColumnRanges ranges) {
        this.ranges = ranges;
    }

    @Override
    public void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        ranges.over(wt.columns(),
                (from, to) -> fit(grid, wt, 0, Math.toIntExact(wt.rows()), scales, zeros, 0, from, to));
    }

    private static void fit(Grid grid, Tensor wt, int firstRow, int rows, Tensor scales, Tensor zeros, int group,
            int from, int to) {
        int width = to - from;
        float[] least = new float[width];
        float[] most = new float[width];
        for (int i = firstRow; i < firstRow + rows; i++) {
            long row = offset(wt, i, from);
            for (int o = 0; o < width; o++) {
                float w = wt.memory().get(FLOAT, row + 4L * o);
                least[o] = Math.min(least[o], w);
                most[o] = Math.max(most[o], w);
            }
        }
        float[] range = new float[2];
        for (int o = 0; o < width; o++) {
            GridFit.range(grid, least[o], most[o], range);
            float p = grid.clipSearch() ? bestShrink(grid, wt, firstRow, rows, from + o, range[0], range[1]) : 1;
            float scale = GridFit.scale(grid, p * range[0], p * range[1]);
            scales.memory().set(FLOAT, offset(scales, group, from + o), scale);
            zeros.memory().set(INT, offset(zeros, group, from + o), GridFit.zero(grid, p * range[0], scale));
        }
    }

    private static float bestShrink(Grid grid, Tensor wt, int firstRow, int rows, int output, float low, float high) {
        double best = Double.POSITIVE_INFINITY;
        float bestShrink = 1;
        for (int step = 0; step < Grid.CLIP_STEPS; step++) {
            float p = GridFit.shrink(step);
            float scale = GridFit.scale(grid, p * low, p * high);
            int zero = GridFit.zero(grid, p * low, scale);
            double error = 0;
            for (int i = firstRow; i < firstRow + rows && error < best; i++) {
                float w = wt.memory().get(FLOAT, offset(wt, i, output));
                float q = GridFit.value(GridFit.code(grid, w, scale, zero), scale, zero);
                error += Math.pow(Math.abs((double) w - q), Grid.CLIP_NORM);
            }
            if (error < best) {
                best = error;
                bestShrink = p;
            }
        }
        return bestShrink;
    }

    @Override
    public void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes) {
        ranges.over(wt.columns(), (from, to) -> {
            for (int i = 0; i < wt.rows(); i++) {
                int group = group(groupOf, i, scales);
                for (int o = from; o < to; o++) {
                    int code = GridFit.code(grid, wt.memory().get(FLOAT, offset(wt, i, o)),
                            scales.memory().get(FLOAT, offset(scales, group, o)),
                            zeros.memory().get(INT, offset(zeros, group, o)));
                    codes.memory().set(ValueLayout.JAVA_BYTE, offset(codes, i, o), (byte) code);
                }
            }
        });
    }

    @Override
    public void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        ranges.over(out.columns(), (from, to) -> {
            for (int i = 0; i < out.rows(); i++) {
                int group = group(groupOf, i, scales);
                for (int o = from; o < to; o++) {
                    int code = codes.memory().get(ValueLayout.JAVA_BYTE, offset(codes, i, o)) & 0xff;
                    out.memory().set(FLOAT, offset(out, i, o),
                            GridFit.value(code, scales.memory().get(FLOAT, offset(scales, group, o)),
                                    zeros.memory().get(INT, offset(zeros, group, o))));
                }
            }
        });
    }

    @Override
    public void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out) {
        int mask = (1 << bits) - 1;
        ranges.over(out.columns(), (from, to) -> {
            for (int i = 0; i < out.rows(); i++) {
                int group = group(groupOf, i, scales);
                long bit = (long) i * bits;
                boolean straddles = bit % 32 + bits > 32;
                for (int o = from; o < to; o++) {
                    long low = word(qweight, bit / 32, o) & 0xffffffffL;
                    long high = straddles ? (long) word(qweight, bit / 32 + 1, o) << 32 : 0;
                    int code = (int) ((low | high) >>> bit % 32) & mask;
                    float scale = Float.float16ToFloat(scales.memory().get(SHORT, offset(scales, group, o)));
                    int zero = zero(qzeros, group, o, bits) + zeroOffset & mask;
                    out.memory().set(FLOAT, offset(out, i, o), GridFit.value(code, scale, zero));
                }
            }
        });
    }

    private static int zero(Tensor qzeros, int group, int output, int bits) {
        long bit = (long) output * bits;
        long low = word(qzeros, group, bit / 32) & 0xffffffffL;
        long high = bit % 32 + bits > 32 ? (long) word(qzeros, group, bit / 32 + 1) << 32 : 0;
        return (int) ((low | high) >>> bit % 32);
    }

    private static int word(Tensor words, long row, long column) {
        return words.memory().get(INT, offset(words, row, column));
    }

    @Override
    public void packCodes(int bits, Tensor codes, Tensor qweight) {
        ranges.over(codes.columns(), (from, to) -> {
            for (int word = 0; word < qweight.rows(); word++) {
                long firstBit = 32L * word;
                for (int o = from; o < to; o++) {
                    int packed = 0;
                    for (long i = firstBit / bits; i * bits < firstBit + 32; i++) {
                        int code = codes.memory().get(ValueLayout.JAVA_BYTE, offset(codes, i, o)) & 0xff;
                        long shift = i * bits - firstBit;
                        packed |= shift >= 0 ? code << shift : code >>> -shift;
                    }
                    qweight.memory().set(INT, offset(qweight, word, o), packed);
                }
            }
        });
    }

    @Override
    public void solveBlock(BlockProblem p) {
        ranges.over(p.wt().columns(), (from, to) -> solve(p, from, to));
    }

    private static void solve(BlockProblem p, int from, int to) {
        int b = Math.toIntExact(p.wt().rows());
        float[] error = new float[to - from];
        float[] row = new float[to - from];
        for (int i = 0; i < b; i++) {
            if (p.fitEvery() > 0 && i % p.fitEvery() == 0) {
                fit(p.grid(), p.wt(), i, Math.min(p.fitEvery(), b - i), p.scales(), p.zeros(), i / p.fitEvery(), from,
                        to);
            }
            int group = group(p.groupOf(), i, p.scales());
            float pivot = p.u().memory().get(FLOAT, offset(p.u(), i, i));
            for (int o = from; o < to; o++) {
                float w = p.wt().memory().get(FLOAT, offset(p.wt(), i, o));
                float scale = p.scales().memory().get(FLOAT, offset(p.scales(), group, o));
                int zero = p.zeros().memory().get(INT, offset(p.zeros(), group, o));
                int code = GridFit.code(p.grid(), w, scale, zero);
                p.codes().memory().set(ValueLayout.JAVA_BYTE, offset(p.codes(), i, o), (byte) code);
                error[o - from] = (w - GridFit.value(code, scale, zero)) / pivot;
            }
            MemorySegment.copy(error, 0, p.errors().memory(), FLOAT, offset(p.errors(), i, from), error.length);
            spread(p, i, from, error, row);
        }
    }

    /** wt[j] -= u[i, j] e for the later rows of the block. */
    private static void spread(BlockProblem p, int i, int from, float[] error, float[] row) {
        for (int j = i + 1; j < p.wt().rows(); j++) {
            float factor = p.u().memory().get(FLOAT, offset(p.u(), i, j));
            long at = offset(p.wt(), j, from);
            MemorySegment.copy(p.wt().memory(), FLOAT, at, row, 0, row.length);
            for (int o = 0; o < row.length; o++) {
                row[o] -= factor * error[o];
            }
            MemorySegment.copy(row, 0, p.wt().memory(), FLOAT, at, row.length);
        }
    }

    private static int group(Tensor groupOf, long input, Tensor scales) {
        return Objects.checkIndex(groupOf.memory().get(INT, Integer.BYTES * input), Math.toIntExact(scales.rows()));
    }

    private static long offset(Tensor tensor, long row, long column) {
        return (row * tensor.stride() + column) * tensor.dtype().bytes();
    }
}
