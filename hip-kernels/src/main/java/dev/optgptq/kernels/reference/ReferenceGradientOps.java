package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.NeuralArguments;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/** The definition of GradientOps: scalar loops that read like the equations, float64 throughout, one rounding at the end. */
final class ReferenceGradientOps implements GradientOps {

    @Override
    public void rmsNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight) {
        double[] sums = new double[Math.toIntExact(x.columns())];
        for (long r = 0; r < x.rows(); r++) {
            double rms = Math.sqrt(meanSquare(x, r, 0) + eps);
            normGradient(x, r, 0, rms, weight, dOut, false, dx, sums);
        }
        add(sums, dWeight);
    }

    @Override
    public void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias) {
        double[] sums = new double[Math.toIntExact(x.columns())];
        for (long r = 0; r < x.rows(); r++) {
            double mean = 0;
            for (long c = 0; c < x.columns(); c++) {
                mean += get(x, r, c) / x.columns();
            }
            double deviation = Math.sqrt(meanSquare(x, r, mean) + eps);
            normGradient(x, r, mean, deviation, weight, dOut, true, dx, sums);
        }
        add(sums, dWeight);
        if (dBias != null) {
            addRowsInto(dOut, dBias);
        }
    }

    /** One row: n = (x - centre) / scale, g = dOut weight; dx += (g - [mean(g)] - n mean(g n)) / scale, sums += dOut n. */
    private static void normGradient(Tensor x, long r, double centre, double scale, Tensor weight, Tensor dOut,
            boolean centred, Tensor dx, double[] sums) {
        double meanG = 0;
        double meanGn = 0;
        for (int c = 0; c < sums.length; c++) {
            double n = (get(x, r, c) - centre) / scale;
            double g = get(dOut, r, c) * get(weight, 0, c);
            meanG += centred ? g / sums.length : 0;
            meanGn += g * n / sums.length;
            sums[c] += get(dOut, r, c) * n;
        }
        for (int c = 0; c < sums.length; c++) {
            double n = (get(x, r, c) - centre) / scale;
            double g = get(dOut, r, c) * get(weight, 0, c);
            set(dx, r, c, get(dx, r, c) + (g - meanG - n * meanGn) / scale);
        }
    }

    private static double meanSquare(Tensor x, long row, double centre) {
        double sum = 0;
        for (long c = 0; c < x.columns(); c++) {
            double difference = get(x, row, c) - centre;
            sum += difference * difference;
        }
        return sum / x.columns();
    }

    private static void add(double[] sums, @Nullable Tensor target) {
        for (int c = 0; target != null && c < sums.length; c++) {
            set(target, 0, c, get(target, 0, c) + sums[c]);
        }
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
    public void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {
        new ReferenceAttentionGradient(forward, dOut, dq, dk, dv).run();
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
    public void embedGradient(Tensor ids, Tensor dOut, Tensor dTable) {
        for (long r = 0; r < dOut.rows(); r++) {
            int id = NeuralArguments.token("embedGradient", Elements.getInt(ids, 0, r), r, dTable.rows());
            for (long c = 0; c < dOut.columns(); c++) {
                set(dTable, id, c, get(dTable, id, c) + get(dOut, r, c));
            }
        }
    }

    @Override
    public void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights) {
        for (long r = 0; r < logits.rows(); r++) {
            int target = NeuralArguments.token("crossEntropyGradient", Elements.getInt(targets, 0, r), r,
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
}
