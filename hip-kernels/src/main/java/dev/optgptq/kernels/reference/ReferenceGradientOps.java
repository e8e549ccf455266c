package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.Arguments;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/** The definition of GradientOps: scalar loops that read like the equations, float64 throughout, one rounding at the end. */
final class ReferenceGradientOps implements GradientOps {

    @Override
    public void rmsNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight) {
        norm(x, weight, x.columns(), eps, false).gradient(dOut, dx, dWeight, null);
    }

    @Override
    public void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias) {
        norm(x, weight, x.columns(), eps, true).gradient(dOut, dx, dWeight, dBias);
    }

    @Override
    public void rmsNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        norm(x, weight, width, eps, false).gradient(dOut, dx, dWeight, null);
    }

    @Override
    public void layerNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        norm(x, weight, width, eps, true).gradient(dOut, dx, dWeight, dBias);
    }

    private static ReferenceNorms norm(Tensor x, Tensor weight, long width, float eps, boolean centred) {
        return new ReferenceNorms(x, weight, Math.toIntExact(width), eps, centred);
    }

    @Override
    public void rotaryGradient(Tensor d, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        long pairs = cos.columns();
        for (long r = 0; r < d.rows(); r++) {
            long position = r % cos.rows();
            for (long head = 0; head < d.columns(); head += headDim) {
                for (long i = 0; i < pairs; i++) {
                    long first = head + (layout == RotaryLayout.HALF ? i : 2 * i);
                    long second = layout == RotaryLayout.HALF ? first + pairs : first + 1;
                    double a = get(d, r, first);
                    double b = get(d, r, second);
                    double c = get(cos, position, i);
                    double s = get(sin, position, i);
                    set(d, r, first, a * c + b * s);
                    set(d, r, second, b * c - a * s);
                }
            }
        }
    }

    @Override
    public void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv,
            @Nullable Tensor dSinks) {
        new ReferenceAttentionGradient(forward, dOut, dq, dk, dv, dSinks).run();
    }

    @Override
    public void activateGradient(Activation activation, Tensor x, Tensor dOut) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                set(x, r, c, Activations.slope(activation, get(x, r, c)) * get(dOut, r, c));
            }
        }
    }

    @Override
    public void activateGatedGradient(Activation activation, Tensor gate, Tensor up, Tensor dOut) {
        for (long r = 0; r < gate.rows(); r++) {
            for (long c = 0; c < gate.columns(); c++) {
                double g = get(gate, r, c);
                double d = get(dOut, r, c);
                set(gate, r, c, Activations.slope(activation, g) * get(up, r, c) * d);
                set(up, r, c, Activations.apply(activation, g) * d);
            }
        }
    }

    @Override
    public void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut) {
        ReferenceGates.clampedSwigluGradient(gate, up, alpha, limit, dOut);
    }

    @Override
    public void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d) {
        ReferenceGates.gateSigmoidGradient(x, gate, d);
    }

    @Override
    public void softcapGradient(Tensor y, float cap, Tensor d) {
        for (long r = 0; r < y.rows(); r++) {
            for (long c = 0; c < y.columns(); c++) {
                double t = get(y, r, c) / cap;
                set(d, r, c, get(d, r, c) * (1 - t * t));
            }
        }
    }

    @Override
    public void clampGradient(Tensor x, float limit, Tensor d) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                set(d, r, c, Math.abs(get(x, r, c)) > limit ? 0 : get(d, r, c));
            }
        }
    }

    @Override
    public void embedGradient(Tensor ids, Tensor dOut, Tensor dTable) {
        for (long r = 0; r < dOut.rows(); r++) {
            int id = Arguments.token("embedGradient", Elements.getInt(ids, 0, r), r, dTable.rows());
            for (long c = 0; c < dOut.columns(); c++) {
                set(dTable, id, c, get(dTable, id, c) + get(dOut, r, c));
            }
        }
    }

    @Override
    public void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights) {
        for (long r = 0; r < logits.rows(); r++) {
            int target = Arguments.token("crossEntropyGradient", Elements.getInt(targets, 0, r), r,
                    logits.columns());
            double[] logP = LogSoftmax.of(logits, r);
            for (int c = 0; c < logP.length; c++) {
                double p = Math.exp(logP[c]);
                set(logits, r, c, get(weights, 0, r) * (c == target ? p - 1 : p));
            }
        }
    }

    @Override
    public void klGradient(Tensor teacher, Tensor student, Tensor weights) {
        for (long r = 0; r < teacher.rows(); r++) {
            double[] logP = LogSoftmax.of(teacher, r);
            double[] logQ = LogSoftmax.of(student, r);
            for (int j = 0; j < logP.length; j++) {
                set(student, r, j, get(weights, 0, r) * (Math.exp(logQ[j]) - Math.exp(logP[j])));
            }
        }
    }

    @Override
    public void addRowsInto(Tensor x, Tensor sums) {
        for (long c = 0; c < x.columns(); c++) {
            double sum = get(sums, 0, c);
            for (long r = 0; r < x.rows(); r++) {
                sum += get(x, r, c);
            }
            set(sums, 0, c, sum);
        }
    }

    @Override
    public void addSquares(float factor, Tensor x, Tensor squares) {
        for (long r = 0; r < x.rows(); r++) {
            double sum = 0;
            for (long c = 0; c < x.columns(); c++) {
                sum += get(x, r, c) * get(x, r, c);
            }
            set(squares, 0, r, get(squares, 0, r) + factor * sum);
        }
    }

    @Override
    public void scaleRows(Tensor x, Tensor factors, Tensor out) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                set(out, r, c, get(factors, 0, r) * get(x, r, c));
            }
        }
    }

    @Override
    public void attentionCurvature(Tensor first, Tensor second, CurvatureWeights weights, int window, Tensor errors) {
        ReferenceAttentionMatrices.curvature(first, second, weights, window, errors);
    }
}
