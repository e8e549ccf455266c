package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.getByte;
import static dev.optgptq.kernels.reference.Elements.getFloat;
import static dev.optgptq.kernels.reference.Elements.getInt;
import static dev.optgptq.kernels.reference.Elements.set;
import static dev.optgptq.kernels.reference.Elements.setByte;
import static dev.optgptq.kernels.reference.Elements.setInt;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.ClipNorm;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps;
import dev.optgptq.kernels.ops.ScaleSearch;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The definition of QuantOps. Unlike the other ops these compute in float32, one rounding per operation and sums in the
 * order of the inputs: codes must not depend on the device, so every twin gives the same bits.
 */
final class ReferenceQuantOps implements QuantOps {

    @Override
    public void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        for (long o = 0; o < wt.columns(); o++) {
            Grid.Range range = range(grid, wt, o);
            Grid.Range chosen = grid.clipSearch() ? range.shrunk(searchStep(grid, wt, o, range)) : range;
            float scale = grid.scale(chosen);
            set(scales, 0, o, scale);
            setInt(zeros, 0, o, grid.zero(chosen, scale));
        }
    }

    @Override
    public void searchScale(Grid grid, Tensor wt, Tensor importance, Tensor scales, Tensor zeros) {
        for (long o = 0; o < wt.columns(); o++) {
            Grid.Range range = range(grid, wt, o);
            int best = 0;
            float least = Float.POSITIVE_INFINITY;
            for (int candidate = 0; candidate < ScaleSearch.candidates(grid); candidate++) {
                float scale = ScaleSearch.scale(grid, range, candidate);
                int zero = ScaleSearch.zero(grid, range, candidate, scale);
                float error = weightedError(grid, wt, o, importance, scale, zero);
                if (error < least) {
                    least = error;
                    best = candidate;
                }
            }
            float scale = ScaleSearch.scale(grid, range, best);
            set(scales, 0, o, scale);
            setInt(zeros, 0, o, ScaleSearch.zero(grid, range, best, scale));
        }
    }

    private static float weightedError(Grid grid, Tensor wt, long output, Tensor importance, float scale, int zero) {
        float inverse = 1 / scale;
        float error = 0;
        for (long i = 0; i < wt.rows(); i++) {
            float w = getFloat(wt, i, output);
            float d = w - scale * (float) Math.rint(grid.clamp(w * inverse, zero));
            error += d * d * getFloat(importance, 0, i);
        }
        return error;
    }

    private static Grid.Range range(Grid grid, Tensor wt, long output) {
        return grid.range(lowest(wt, output), highest(wt, output));
    }

    private static float lowest(Tensor wt, long output) {
        float low = 0;
        for (long i = 0; i < wt.rows(); i++) {
            low = Math.min(low, getFloat(wt, i, output));
        }
        return low;
    }

    private static float highest(Tensor wt, long output) {
        float high = 0;
        for (long i = 0; i < wt.rows(); i++) {
            high = Math.max(high, getFloat(wt, i, output));
        }
        return high;
    }

    /** The step of the clip search with the least error, the first of equals. */
    private static int searchStep(Grid grid, Tensor wt, long output, Grid.Range range) {
        float unit = ClipNorm.unit(range);
        int best = 0;
        float least = Float.POSITIVE_INFINITY;
        for (int step = 0; step < Grid.CLIP_STEPS; step++) {
            Grid.Range shrunk = range.shrunk(step);
            float scale = grid.scale(shrunk);
            int zero = grid.zero(shrunk, scale);
            float error = 0;
            for (long i = 0; i < wt.rows(); i++) {
                float w = getFloat(wt, i, output);
                error += ClipNorm.power((w - Grid.value(grid.code(w, scale, zero), scale, zero)) * unit);
            }
            if (error < least) {
                least = error;
                best = step;
            }
        }
        return best;
    }

    @Override
    public void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes) {
        for (long i = 0; i < wt.rows(); i++) {
            long group = group(groupOf, i, scales);
            for (long o = 0; o < wt.columns(); o++) {
                setByte(codes, i, o,
                        grid.code(getFloat(wt, i, o), getFloat(scales, group, o), getInt(zeros, group, o)));
            }
        }
    }

    @Override
    public void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        for (long i = 0; i < out.rows(); i++) {
            long group = group(groupOf, i, scales);
            for (long o = 0; o < out.columns(); o++) {
                set(out, i, o,
                        Grid.value(getByte(codes, i, o), getFloat(scales, group, o), getInt(zeros, group, o)));
            }
        }
    }

    private static long group(Tensor groupOf, long input, Tensor scales) {
        return Objects.checkIndex(getInt(groupOf, 0, input), scales.rows());
    }

    @Override
    public void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out) {
        PackedWeights packed = new PackedWeights(bits, zeroOffset, qweight, qzeros, scales, groupOf);
        for (long i = 0; i < out.rows(); i++) {
            for (long o = 0; o < out.columns(); o++) {
                set(out, i, o, weight(packed, i, o));
            }
        }
    }

    /** The weight of an input for an output, bit by bit. */
    private static float weight(PackedWeights packed, long i, long o) {
        int bits = packed.bits();
        long group = group(packed.groupOf(), i, packed.scales());
        int code = 0;
        int stored = 0;
        for (int bit = 0; bit < bits; bit++) {
            long inStream = i * bits + bit;
            code |= ((getInt(packed.qweight(), inStream / 32, o) >>> (inStream % 32)) & 1) << bit;
            long inZeros = o * bits + bit;
            stored |= ((getInt(packed.qzeros(), group, inZeros / 32) >>> (inZeros % 32)) & 1) << bit;
        }
        int zero = (stored + packed.zeroOffset()) & ((1 << bits) - 1);
        return Grid.value(code, (float) get(packed.scales(), group, o), zero);
    }

    @Override
    public void linearPacked(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        for (long o = 0; o < y.columns(); o++) {
            double[] sums = new double[Math.toIntExact(y.rows())];
            Arrays.fill(sums, bias == null ? 0 : get(bias, 0, o));
            for (long i = 0; i < x.columns(); i++) {
                double weight = weight(weights, i, o);
                for (int r = 0; r < sums.length; r++) {
                    sums[r] += get(x, r, i) * weight;
                }
            }
            for (int r = 0; r < sums.length; r++) {
                set(y, r, o, beta == 0 ? sums[r] : sums[r] + beta * get(y, r, o));
            }
        }
    }

    /** Bit by bit, the polynomial's bits in the order of the message's. */
    @Override
    public void checksum(Tensor codes, Tensor crc) {
        int found = -1;
        for (long i = 0; i < codes.rows(); i++) {
            for (long o = 0; o < codes.columns(); o++) {
                found ^= getByte(codes, i, o);
                for (int bit = 0; bit < 8; bit++) {
                    found = found >>> 1 ^ ((found & 1) == 0 ? 0 : 0x82F63B78);
                }
            }
        }
        setInt(crc, 0, 0, ~found);
    }

    @Override
    public void packCodes(int bits, Tensor codes, Tensor qweight) {
        for (long o = 0; o < codes.columns(); o++) {
            for (long word = 0; word < qweight.rows(); word++) {
                int packed = 0;
                for (int bit = 0; bit < 32; bit++) {
                    long inStream = word * 32 + bit;
                    int code = getByte(codes, inStream / bits, o);
                    if (code >>> bits != 0) {
                        throw new IllegalArgumentException("expected codes of " + bits + " bits, found " + code);
                    }
                    packed |= ((code >>> (inStream % bits)) & 1) << bit;
                }
                setInt(qweight, word, o, packed);
            }
        }
    }

    @Override
    public void solveBlock(BlockProblem p) {
        for (long i = 0; i < p.wt().rows(); i++) {
            if (p.fitEvery() > 0 && i % p.fitEvery() == 0) {
                long group = i / p.fitEvery();
                fitGrid(p.grid(), p.wt().rows(i, Math.min(p.fitEvery(), p.wt().rows() - i)), p.scales().rows(group, 1),
                        p.zeros().rows(group, 1));
            }
            long group = p.fitEvery() > 0 ? i / p.fitEvery() : group(p.groupOf(), i, p.scales());
            for (long o = 0; o < p.wt().columns(); o++) {
                solveOne(p, i, o, getFloat(p.scales(), group, o), getInt(p.zeros(), group, o));
            }
        }
    }

    private static void solveOne(BlockProblem p, long i, long o, float scale, int zero) {
        float w = getFloat(p.wt(), i, o);
        int code = p.grid().code(w, scale, zero);
        float e = (w - Grid.value(code, scale, zero)) / getFloat(p.u(), i, i);
        setByte(p.codes(), i, o, code);
        set(p.errors(), i, o, e);
        for (long j = i + 1; j < p.wt().rows(); j++) {
            set(p.wt(), j, o, Math.fma(-getFloat(p.u(), i, j), e, getFloat(p.wt(), j, o)));
        }
    }

    @Override
    public void descendCodes(DescentProblem problem) {
        ReferenceDescent.codes(problem);
    }

    @Override
    public void groupSums(int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums) {
        ReferenceRefit.groupSums(groupSize, codes, zeros, values, sums);
    }

    @Override
    public void refitScales(RefitProblem problem) {
        ReferenceRefit.scales(problem);
    }
}
