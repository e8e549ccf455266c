package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.Arguments;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;

/** The definition of NeuralOps: scalar loops that read like the equations, float64 throughout, one rounding at the end. */
public final class ReferenceNeuralOps implements NeuralOps {

    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @Override
    public void convert(Tensor source, Tensor target) {
        for (long r = 0; r < source.rows(); r++) {
            for (long c = 0; c < source.columns(); c++) {
                Elements.set(target, r, c, Elements.get(source, r, c));
            }
        }
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        for (long r = 0; r < out.rows(); r++) {
            int id = Arguments.token("embed", Elements.getInt(ids, 0, r), r, table.rows());
            for (long c = 0; c < out.columns(); c++) {
                Elements.set(out, r, c, Elements.get(table, id, c));
            }
        }
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        norm(x, weight, x.columns(), eps, false, null, out);
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        norm(x, weight, x.columns(), eps, true, bias, out);
    }

    @Override
    public void rmsNormGroups(Tensor x, Tensor weight, int width, float eps, Tensor out) {
        norm(x, weight, width, eps, false, null, out);
    }

    @Override
    public void layerNormGroups(Tensor x, Tensor weight, @Nullable Tensor bias, int width, float eps, Tensor out) {
        norm(x, weight, width, eps, true, bias, out);
    }

    private static void norm(Tensor x, Tensor weight, long width, float eps, boolean centred, @Nullable Tensor bias,
            Tensor out) {
        new ReferenceNorms(x, weight, Math.toIntExact(width), eps, centred).run(bias, out);
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        rotaryTo(x, headDim, cos, sin, layout, x);
    }

    @Override
    public void rotaryTo(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout, Tensor out) {
        long pairs = cos.columns();
        for (long r = 0; r < x.rows(); r++) {
            long position = r % cos.rows();
            for (long head = 0; head < x.columns(); head += headDim) {
                for (long i = 0; i < pairs; i++) {
                    long first = head + (layout == RotaryLayout.HALF ? i : 2 * i);
                    long second = layout == RotaryLayout.HALF ? first + pairs : first + 1;
                    double a = Elements.get(x, r, first);
                    double b = Elements.get(x, r, second);
                    double c = Elements.get(cos, position, i);
                    double s = Elements.get(sin, position, i);
                    Elements.set(out, r, first, a * c - b * s);
                    Elements.set(out, r, second, b * c + a * s);
                }
                for (long column = head + 2 * pairs; column < head + headDim; column++) {
                    Elements.set(out, r, column, Elements.get(x, r, column));
                }
            }
        }
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks,
            AttentionShape shape, Tensor out) {
        new ReferenceAttention(new Attended(q, k, v, slopes, sinks, shape, out)).run();
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        map(x, value -> Activations.apply(activation, value));
    }

    private static void map(Tensor x, DoubleUnaryOperator function) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                Elements.set(x, r, c, function.applyAsDouble(Elements.get(x, r, c)));
            }
        }
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up, Tensor out) {
        for (long r = 0; r < gate.rows(); r++) {
            for (long c = 0; c < gate.columns(); c++) {
                double activated = Activations.apply(activation, Elements.get(gate, r, c));
                Elements.set(out, r, c, activated * Elements.get(up, r, c));
            }
        }
    }

    @Override
    public void clampedSwiglu(Tensor gate, Tensor up, float alpha, float limit) {
        ReferenceGates.clampedSwiglu(gate, up, alpha, limit);
    }

    @Override
    public void gateSigmoid(Tensor x, Tensor gate) {
        ReferenceGates.gateSigmoid(x, gate);
    }

    @Override
    public void scale(Tensor x, float factor) {
        map(x, value -> factor * value);
    }

    @Override
    public void softcap(Tensor x, float cap) {
        map(x, value -> cap * Math.tanh(value / cap));
    }

    @Override
    public void clamp(Tensor x, float limit) {
        map(x, value -> ReferenceGates.clamp(value, limit));
    }

    @Override
    public void add(Tensor x, Tensor y) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                Elements.set(x, r, c, Elements.get(x, r, c) + Elements.get(y, r, c));
            }
        }
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                Elements.set(x, r, c, Elements.get(x, r, c) + Elements.get(row, 0, c));
            }
        }
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        for (long r = 0; r < logits.rows(); r++) {
            int target = Arguments.token("crossEntropy", Elements.getInt(targets, 0, r), r, logits.columns());
            Elements.set(nll, 0, r, -LogSoftmax.of(logits, r)[target]);
        }
    }

    @Override
    public void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        for (long r = 0; r < teacher.rows(); r++) {
            double[] logP = LogSoftmax.of(teacher, r);
            double[] logQ = LogSoftmax.of(student, r);
            double sum = 0;
            for (int j = 0; j < logP.length; j++) {
                sum += Math.exp(logP[j]) * (logP[j] - logQ[j]);
            }
            Elements.set(kl, 0, r, sum);
            boolean agree = !Double.isNaN(sum) && firstLargest(teacher, r) == firstLargest(student, r);
            Elements.setInt(agrees, 0, r, agree ? 1 : 0);
        }
    }

    private static long firstLargest(Tensor x, long row) {
        long first = 0;
        for (long c = 1; c < x.columns(); c++) {
            first = Elements.get(x, row, c) > Elements.get(x, row, first) ? c : first;
        }
        return first;
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        long found = 0;
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                found += Double.isFinite(Elements.get(x, r, c)) ? 0 : 1;
            }
        }
        count.memory().set(LONG, 0, found);
    }

    @Override
    public void causalSoftmax(Tensor scores, float scale, @Nullable Tensor slopes, int window) {
        ReferenceAttentionMatrices.causalSoftmax(scores, scale, slopes, window);
    }
}
