package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.DeltaOps;
import org.jspecify.annotations.Nullable;

/** The definition of DeltaOps: scalar loops that read like the equations, float64 throughout, one rounding at the end. */
final class ReferenceDeltaOps implements DeltaOps {

    @Override
    public void causalConvolution(Tensor x, Tensor weight, @Nullable Tensor bias, int sequenceLength, Tensor out) {
        long taps = weight.columns();
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                double sum = bias == null ? 0 : get(bias, 0, c);
                for (long i = 0; i < taps; i++) {
                    long back = taps - 1 - i;
                    sum += back <= r % sequenceLength ? get(weight, c, i) * get(x, r - back, c) : 0;
                }
                set(out, r, c, sum);
            }
        }
    }

    @Override
    public void causalConvolutionGradient(Tensor x, Tensor weight, int sequenceLength, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        long taps = weight.columns();
        for (long c = 0; c < x.columns(); c++) {
            double[] weightSums = new double[Math.toIntExact(taps)];
            double biasSum = 0;
            for (long r = 0; r < x.rows(); r++) {
                double sum = 0;
                for (int i = 0; i < taps; i++) {
                    long back = taps - 1 - i;
                    sum += back < sequenceLength - r % sequenceLength ? get(weight, c, i) * get(dOut, r + back, c) : 0;
                    weightSums[i] += back <= r % sequenceLength ? get(dOut, r, c) * get(x, r - back, c) : 0;
                }
                set(dx, r, c, sum);
                biasSum += get(dOut, r, c);
            }
            for (int i = 0; dWeight != null && i < taps; i++) {
                set(dWeight, c, i, get(dWeight, c, i) + weightSums[i]);
            }
            if (dBias != null) {
                set(dBias, 0, c, get(dBias, 0, c) + biasSum);
            }
        }
    }

    /** log(1 + e^x), without overflow. */
    private static double softplus(double x) {
        return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    }

    @Override
    public void deltaDecay(Tensor a, Tensor aLog, Tensor dtBias, Tensor out) {
        for (long r = 0; r < a.rows(); r++) {
            for (long c = 0; c < a.columns(); c++) {
                set(out, r, c, -Math.exp(get(aLog, 0, c)) * softplus(get(a, r, c) + get(dtBias, 0, c)));
            }
        }
    }

    @Override
    public void deltaDecayGradient(Tensor a, Tensor aLog, Tensor dtBias, Tensor dOut, Tensor da, @Nullable Tensor dALog,
            @Nullable Tensor dDtBias) {
        for (long c = 0; c < a.columns(); c++) {
            double rate = -Math.exp(get(aLog, 0, c));
            double logSum = 0;
            double biasSum = 0;
            for (long r = 0; r < a.rows(); r++) {
                double x = get(a, r, c) + get(dtBias, 0, c);
                double d = rate * get(dOut, r, c);
                logSum += d * softplus(x);
                biasSum += d * Activations.sigmoid(x);
                set(da, r, c, d * Activations.sigmoid(x));
            }
            if (dALog != null) {
                set(dALog, 0, c, get(dALog, 0, c) + logSum);
            }
            if (dDtBias != null) {
                set(dDtBias, 0, c, get(dDtBias, 0, c) + biasSum);
            }
        }
    }

    @Override
    public void gatedDeltaRule(DeltaInputs inputs, Tensor out) {
        DeltaShape shape = inputs.shape();
        for (long first = 0; first < out.rows(); first += shape.sequenceLength()) {
            for (int head = 0; head < shape.valueHeads(); head++) {
                new ReferenceDeltaRule(inputs, first, head).forward(out);
            }
        }
    }

    @Override
    public void gatedDeltaRuleGradient(DeltaInputs inputs, Tensor dOut, DeltaGradients gradients) {
        DeltaShape shape = inputs.shape();
        int keyDim = shape.keyDim();
        for (long first = 0; first < dOut.rows(); first += shape.sequenceLength()) {
            for (int keyHead = 0; keyHead < shape.keyHeads(); keyHead++) {
                double[][] queries = new double[shape.sequenceLength()][keyDim];
                double[][] keys = new double[shape.sequenceLength()][keyDim];
                for (int head = keyHead * shape.group(); head < (keyHead + 1) * shape.group(); head++) {
                    new ReferenceDeltaRule(inputs, first, head).backward(dOut, gradients, queries, keys);
                }
                for (int t = 0; t < shape.sequenceLength(); t++) {
                    for (int i = 0; i < keyDim; i++) {
                        set(gradients.dq(), first + t, (long) keyHead * keyDim + i, queries[t][i]);
                        set(gradients.dk(), first + t, (long) keyHead * keyDim + i, keys[t][i]);
                    }
                }
            }
        }
    }
}
