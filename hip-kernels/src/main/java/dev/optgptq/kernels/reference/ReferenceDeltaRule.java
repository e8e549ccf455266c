package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.DeltaOps.DeltaGradients;
import dev.optgptq.kernels.ops.DeltaOps.DeltaInputs;
import dev.optgptq.kernels.ops.DeltaOps.DeltaShape;

/** The gated delta rule over one sequence of one value head: a state [keyDim][valueDim] that every token changes. */
final class ReferenceDeltaRule {

    private final DeltaInputs inputs;
    private final DeltaShape shape;
    /** Row of the sequence's position 0. */
    private final long first;
    private final int head;
    private final double[] q;
    private final double[] k;
    private final double[] v;

    ReferenceDeltaRule(DeltaInputs inputs, long first, int head) {
        this.inputs = inputs;
        this.shape = inputs.shape();
        this.first = first;
        this.head = head;
        this.q = new double[shape.keyDim()];
        this.k = new double[shape.keyDim()];
        this.v = new double[shape.valueDim()];
    }

    void forward(Tensor out) {
        double[][] state = new double[shape.keyDim()][shape.valueDim()];
        for (int t = 0; t < shape.sequenceLength(); t++) {
            load(t);
            decay(state, t);
            add(state, scaled(beta(t), error(state)));
            for (int c = 0; c < v.length; c++) {
                double sum = 0;
                for (int i = 0; i < k.length; i++) {
                    sum += state[i][c] * q[i];
                }
                set(out, first + t, (long) head * v.length + c, sum);
            }
        }
    }

    /**
     * With D the gradient for the state after a token and S' the state that its decay left, e = v - S'^T k, u = beta e: D += q
     * dOut^T; dq = scale S dOut; du = D^T k; dk = D u - S' (beta du); dBeta = du . e; dv = beta du; then D' = D - k (beta
     * du)^T, dDecay = the sum of D' S' and D = e^decay D' for the token before.
     *
     * @param dq [T][keyDim], added to, as dk
     */
    void backward(Tensor dOut, DeltaGradients gradients, double[][] dq, double[][] dk) {
        double[][][] before = new double[shape.sequenceLength()][][];
        double[][] state = new double[k.length][v.length];
        for (int t = 0; t < shape.sequenceLength(); t++) {
            before[t] = copy(state);
            load(t);
            decay(state, t);
            add(state, scaled(beta(t), error(state)));
        }
        double[][] gradient = new double[k.length][v.length];
        double[] d = new double[v.length];
        for (int t = shape.sequenceLength() - 1; t >= 0; t--) {
            load(t);
            for (int c = 0; c < v.length; c++) {
                d[c] = get(dOut, first + t, (long) head * v.length + c);
            }
            double[][] kept = before[t];
            decay(kept, t);
            double[] error = error(kept);
            double[] u = scaled(beta(t), error);
            double[] du = new double[v.length];
            for (int i = 0; i < k.length; i++) {
                for (int c = 0; c < v.length; c++) {
                    gradient[i][c] += q[i] * d[c];
                    du[c] += gradient[i][c] * k[i];
                    dq[t][i] += shape.scale() * (kept[i][c] + k[i] * u[c]) * d[c];
                }
            }
            double[] dError = scaled(beta(t), du);
            double dDecay = 0;
            double dBeta = 0;
            for (int c = 0; c < v.length; c++) {
                dBeta += du[c] * error[c];
                set(gradients.dv(), first + t, (long) head * v.length + c, dError[c]);
                for (int i = 0; i < k.length; i++) {
                    dk[t][i] += gradient[i][c] * u[c] - kept[i][c] * dError[c];
                    gradient[i][c] -= k[i] * dError[c];
                    dDecay += gradient[i][c] * kept[i][c];
                }
            }
            set(gradients.dBeta(), first + t, head, dBeta);
            set(gradients.dDecay(), first + t, head, dDecay);
            decay(gradient, t);
        }
    }

    private void load(int t) {
        int keyHead = head / shape.group();
        for (int i = 0; i < k.length; i++) {
            q[i] = shape.scale() * get(inputs.q(), first + t, (long) keyHead * k.length + i);
            k[i] = get(inputs.k(), first + t, (long) keyHead * k.length + i);
        }
        for (int c = 0; c < v.length; c++) {
            v[c] = get(inputs.v(), first + t, (long) head * v.length + c);
        }
    }

    private double beta(int t) {
        return get(inputs.beta(), first + t, head);
    }

    private void decay(double[][] state, int t) {
        double factor = Math.exp(get(inputs.decay(), first + t, head));
        for (double[] row : state) {
            for (int c = 0; c < row.length; c++) {
                row[c] *= factor;
            }
        }
    }

    /** v - S^T k: the prediction error of the state for the key. */
    private double[] error(double[][] state) {
        double[] error = v.clone();
        for (int i = 0; i < k.length; i++) {
            for (int c = 0; c < v.length; c++) {
                error[c] -= state[i][c] * k[i];
            }
        }
        return error;
    }

    private void add(double[][] state, double[] u) {
        for (int i = 0; i < k.length; i++) {
            for (int c = 0; c < v.length; c++) {
                state[i][c] += k[i] * u[c];
            }
        }
    }

    private static double[] scaled(double factor, double[] values) {
        double[] scaled = new double[values.length];
        for (int c = 0; c < values.length; c++) {
            scaled[c] = factor * values[c];
        }
        return scaled;
    }

    private static double[][] copy(double[][] state) {
        double[][] copy = new double[state.length][];
        for (int i = 0; i < state.length; i++) {
            copy[i] = state[i].clone();
        }
        return copy;
    }
}
