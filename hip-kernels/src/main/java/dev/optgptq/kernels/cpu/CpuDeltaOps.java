package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.ColumnSums;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.DeltaOps;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** DeltaOps on vectors and all threads. Every result is the same, to the bit, for any number of threads. */
final class CpuDeltaOps implements DeltaOps {

    private final Parallel parallel;

    CpuDeltaOps(Parallel parallel) {
        this.parallel = parallel;
    }

    @Override
    public void causalConvolution(Tensor x, Tensor weight, @Nullable Tensor bias, int sequenceLength, Tensor out) {
        int columns = Math.toIntExact(x.columns());
        int taps = Math.toIntExact(weight.columns());
        double[][] byTap = byTap(weight);
        Rows.forEach(parallel, x, row -> {
            double[] sums = new double[columns];
            for (int c = 0; c < columns && bias != null; c++) {
                sums[c] = bias.memory().get(Memory.FLOAT, 4L * c);
            }
            for (int i = (int) Math.max(0, taps - 1 - row % sequenceLength); i < taps; i++) {
                addProducts(byTap[i], x.memory(), Memory.row(x, row - (taps - 1) + i), sums);
            }
            round(sums, out.memory(), Memory.row(out, row));
        });
    }

    /** sums += factors x, in float64: queries and keys are divided by their lengths next, however short they are. */
    private static void addProducts(double[] factors, MemorySegment x, long at, double[] sums) {
        for (int c = 0; c < sums.length; c++) {
            sums[c] += factors[c] * x.get(Memory.FLOAT, at + 4L * c);
        }
    }

    private static void round(double[] sums, MemorySegment to, long at) {
        for (int c = 0; c < sums.length; c++) {
            to.set(Memory.FLOAT, at + 4L * c, (float) sums[c]);
        }
    }

    /** weight [C, K] as K rows of C. */
    private static double[][] byTap(Tensor weight) {
        int columns = Math.toIntExact(weight.rows());
        double[][] byTap = new double[Math.toIntExact(weight.columns())][columns];
        for (int i = 0; i < byTap.length; i++) {
            for (int c = 0; c < columns; c++) {
                byTap[i][c] = weight.memory().get(Memory.FLOAT, Memory.row(weight, c) + 4L * i);
            }
        }
        return byTap;
    }

    @Override
    public void causalConvolutionGradient(Tensor x, Tensor weight, int sequenceLength, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        int columns = Math.toIntExact(x.columns());
        int taps = Math.toIntExact(weight.columns());
        double[][] byTap = byTap(weight);
        Rows.forEach(parallel, x, row -> {
            double[] sums = new double[columns];
            long left = sequenceLength - 1 - row % sequenceLength;
            for (int i = (int) Math.max(0, taps - 1 - left); i < taps; i++) {
                addProducts(byTap[i], dOut.memory(), Memory.row(dOut, row + (taps - 1) - i), sums);
            }
            round(sums, dx.memory(), Memory.row(dx, row));
        });
        if (dWeight != null) {
            weightGradient(x, sequenceLength, dOut, dWeight);
        }
        if (dBias != null) {
            CpuNormGradients.bias(parallel, dOut, dBias);
        }
    }

    /** Columns in parallel: dWeight[c, i] += sum over rows of dOut[row, c] x[row - (K - 1) + i, c], in float64. */
    private void weightGradient(Tensor x, int sequenceLength, Tensor dOut, Tensor dWeight) {
        int taps = Math.toIntExact(dWeight.columns());
        parallel.forRanges(x.columns(), 64, (from, to) -> {
            for (int i = 0; i < taps; i++) {
                int back = taps - 1 - i;
                double[] sums = new double[(int) (to - from)];
                for (long row = 0; row < x.rows(); row++) {
                    if (row % sequenceLength >= back) {
                        addProducts(dOut.memory(), Memory.row(dOut, row) + 4 * from, x.memory(),
                                Memory.row(x, row - back) + 4 * from, sums);
                    }
                }
                for (int c = 0; c < sums.length; c++) {
                    long at = Memory.row(dWeight, from + c) + 4L * i;
                    dWeight.memory().set(Memory.FLOAT, at, (float) (dWeight.memory().get(Memory.FLOAT, at) + sums[c]));
                }
            }
        });
    }

    private static void addProducts(MemorySegment a, long aAt, MemorySegment b, long bAt, double[] sums) {
        for (int c = 0; c < sums.length; c++) {
            sums[c] += (double) a.get(Memory.FLOAT, aAt + 4L * c) * b.get(Memory.FLOAT, bAt + 4L * c);
        }
    }

    /** log(1 + e^x), without overflow; a head has one number, so that float64 costs nothing. */
    private static double softplus(double x) {
        return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    }

    @Override
    public void deltaDecay(Tensor a, Tensor aLog, Tensor dtBias, Tensor out) {
        Rows.forEach(parallel, a, row -> {
            for (int c = 0; c < a.columns(); c++) {
                double x = get(a, row, c) + get(dtBias, 0, c);
                out.memory().set(Memory.FLOAT, Memory.row(out, row) + 4L * c,
                        (float) (-Math.exp(get(aLog, 0, c)) * softplus(x)));
            }
        });
    }

    @Override
    public void deltaDecayGradient(Tensor a, Tensor aLog, Tensor dtBias, Tensor dOut, Tensor da, @Nullable Tensor dALog,
            @Nullable Tensor dDtBias) {
        int columns = Math.toIntExact(a.columns());
        ColumnSums.chunks(parallel, a.rows(), columns, dALog, (row, sums) -> {
            for (int c = 0; c < columns; c++) {
                double x = get(a, row, c) + get(dtBias, 0, c);
                double d = -Math.exp(get(aLog, 0, c)) * get(dOut, row, c);
                da.memory().set(Memory.FLOAT, Memory.row(da, row) + 4L * c, (float) (d / (1 + Math.exp(-x))));
                sums[c] += (float) (d * softplus(x));
            }
        });
        if (dDtBias != null) {
            CpuNormGradients.bias(parallel, da, dDtBias);
        }
    }

    private static double get(Tensor tensor, long row, int column) {
        return tensor.memory().get(Memory.FLOAT, Memory.row(tensor, row) + 4L * column);
    }

    @Override
    public void gatedDeltaRule(DeltaInputs inputs, Tensor out) {
        forKeyHeads(inputs, rule -> rule.forward(out));
    }

    @Override
    public void gatedDeltaRuleGradient(DeltaInputs inputs, Tensor dOut, DeltaGradients gradients) {
        forKeyHeads(inputs, rule -> rule.backward(dOut, gradients));
    }

    @FunctionalInterface
    private interface OfKeyHead {
        void run(CpuDeltaRule rule);
    }

    private void forKeyHeads(DeltaInputs inputs, OfKeyHead body) {
        int keyHeads = inputs.shape().keyHeads();
        int length = inputs.shape().sequenceLength();
        parallel.forEach(inputs.q().rows() / length * keyHeads, task -> body
                .run(new CpuDeltaRule(inputs, task / keyHeads * length, (int) (task % keyHeads))));
    }
}
