package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.ops.DeltaOps.DeltaGradients;
import dev.optgptq.kernels.ops.DeltaOps.DeltaInputs;
import dev.optgptq.kernels.ops.DeltaOps.DeltaShape;
import java.util.Arrays;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The gated delta rule over the value heads of one key head of one sequence. A state [keyDim][width] has a value head's columns
 * along the vector lanes: columns are independent except in the gradients of queries and keys. In float64, like the definition:
 * over the tokens the gradient of the decay cancels to a thousandth of its terms.
 */
final class CpuDeltaRule {

    /** The CPU's preferred width, up to 8 lanes. */
    private static final VectorSpecies<Double> SPECIES = DoubleVector.SPECIES_PREFERRED.length() > 8
            ? DoubleVector.SPECIES_512
            : DoubleVector.SPECIES_PREFERRED;
    private static final int LANES = SPECIES.length();

    private final DeltaInputs inputs;
    private final DeltaShape shape;
    /** Row of the sequence's position 0. */
    private final long first;
    private final int keyHead;
    private final int keyDim;
    /** valueDim in whole vectors; the columns between are 0. */
    private final int width;
    private final double[] q;
    private final double[] k;
    private final double[] v;
    private final double[] out;
    private final double[] state;

    CpuDeltaRule(DeltaInputs inputs, long first, int keyHead) {
        this.inputs = inputs;
        this.shape = inputs.shape();
        this.first = first;
        this.keyHead = keyHead;
        this.keyDim = shape.keyDim();
        this.width = Math.ceilDiv(shape.valueDim(), LANES) * LANES;
        this.q = new double[keyDim];
        this.k = new double[keyDim];
        this.v = new double[width];
        this.out = new double[width];
        this.state = new double[keyDim * width];
    }

    void forward(Tensor target) {
        for (int head = keyHead * shape.group(); head < (keyHead + 1) * shape.group(); head++) {
            Arrays.fill(state, 0);
            for (int t = 0; t < shape.sequenceLength(); t++) {
                load(head, t);
                step(kept(head, t), beta(head, t));
                write(out, 0, target, t, head, shape.valueDim());
            }
        }
    }

    /** Where a head's columns of a token begin. */
    private long at(Tensor tensor, int t, int head, int columns) {
        return Memory.row(tensor, first + t) + 4L * head * columns;
    }

    private void read(Tensor tensor, int t, int head, int columns, double[] target) {
        long from = at(tensor, t, head, columns);
        for (int c = 0; c < columns; c++) {
            target[c] = tensor.memory().get(Memory.FLOAT, from + 4L * c);
        }
    }

    private void write(double[] values, int from, Tensor tensor, int t, int head, int columns) {
        long to = at(tensor, t, head, columns);
        for (int c = 0; c < columns; c++) {
            tensor.memory().set(Memory.FLOAT, to + 4L * c, (float) values[from + c]);
        }
    }

    private void load(int head, int t) {
        read(inputs.q(), t, keyHead, keyDim, q);
        for (int i = 0; i < keyDim; i++) {
            q[i] *= shape.scale();
        }
        read(inputs.k(), t, keyHead, keyDim, k);
        read(inputs.v(), t, head, shape.valueDim(), v);
    }

    private double kept(int head, int t) {
        return Math.exp(inputs.decay().memory().get(Memory.FLOAT, at(inputs.decay(), t, head, 1)));
    }

    private double beta(int head, int t) {
        return inputs.beta().memory().get(Memory.FLOAT, at(inputs.beta(), t, head, 1));
    }

    /** S = kept S; u = beta (v - S^T k); S = S + k u^T; out = S^T q. */
    private void step(double kept, double beta) {
        for (int c = 0; c < width; c += LANES) {
            DoubleVector dot = DoubleVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                DoubleVector s = DoubleVector.fromArray(SPECIES, state, i * width + c).mul(kept);
                s.intoArray(state, i * width + c);
                dot = s.fma(DoubleVector.broadcast(SPECIES, k[i]), dot);
            }
            DoubleVector u = DoubleVector.fromArray(SPECIES, v, c).sub(dot).mul(beta);
            DoubleVector sum = DoubleVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                DoubleVector s = u.fma(DoubleVector.broadcast(SPECIES, k[i]),
                        DoubleVector.fromArray(SPECIES, state, i * width + c));
                s.intoArray(state, i * width + c);
                sum = s.fma(DoubleVector.broadcast(SPECIES, q[i]), sum);
            }
            sum.intoArray(out, c);
        }
    }

    /** The gradients of this key head and its value heads; states are computed again from one in every chunk. */
    void backward(Tensor dOut, DeltaGradients gradients) {
        int length = shape.sequenceLength();
        int chunk = (int) Math.ceil(Math.sqrt(length));
        double[][] starts = new double[Math.ceilDiv(length, chunk)][state.length];
        double[][] steps = new double[chunk][state.length];
        double[] queries = new double[length * keyDim];
        double[] keys = new double[length * keyDim];
        Backward work = new Backward();
        for (int head = keyHead * shape.group(); head < (keyHead + 1) * shape.group(); head++) {
            Arrays.fill(state, 0);
            replay(head, 0, length, (t, before) -> {
                if (t % chunk == 0) {
                    System.arraycopy(before, 0, starts[t / chunk], 0, before.length);
                }
            });
            work.begin();
            for (int c = starts.length - 1; c >= 0; c--) {
                int from = c * chunk;
                int to = Math.min(from + chunk, length);
                System.arraycopy(starts[c], 0, state, 0, state.length);
                replay(head, from, to,
                        (t, before) -> System.arraycopy(before, 0, steps[t - from], 0, before.length));
                for (int t = to - 1; t >= from; t--) {
                    work.token(head, t, steps[t - from], dOut, gradients, queries, keys);
                }
            }
        }
        for (int t = 0; t < length; t++) {
            write(queries, t * keyDim, gradients.dq(), t, keyHead, keyDim);
            write(keys, t * keyDim, gradients.dk(), t, keyHead, keyDim);
        }
    }

    @FunctionalInterface
    private interface Before {
        void state(int t, double[] state);
    }

    /** The tokens [from, to) once more. */
    private void replay(int head, int from, int to, Before body) {
        for (int t = from; t < to; t++) {
            body.state(t, state);
            load(head, t);
            step(kept(head, t), beta(head, t));
        }
    }

    /** The backward pass token by token, as in ReferenceDeltaRule. */
    private final class Backward {
        private final double[] gradient = new double[keyDim * width];
        private final double[] d = new double[width];
        private final double[] dValue = new double[width];
        /** Of each key, by lane. */
        private final double[] dQuery = new double[keyDim * LANES];
        private final double[] dKey = new double[keyDim * LANES];
        /** Of the decay and of beta, by lane. */
        private final double[] shared = new double[2 * LANES];

        void begin() {
            Arrays.fill(gradient, 0);
        }

        void token(int head, int t, double[] before, Tensor dOut, DeltaGradients gradients, double[] queries,
                double[] keys) {
            load(head, t);
            read(dOut, t, head, shape.valueDim(), d);
            Arrays.fill(dQuery, 0);
            Arrays.fill(dKey, 0);
            Arrays.fill(shared, 0);
            double kept = kept(head, t);
            for (int c = 0; c < width; c += LANES) {
                columns(c, before, kept, beta(head, t));
            }
            for (int i = 0; i < keyDim; i++) {
                queries[t * keyDim + i] += shape.scale()
                        * sum(dQuery, i * LANES);
                keys[t * keyDim + i] += sum(dKey, i * LANES);
            }
            write(dValue, 0, gradients.dv(), t, head, shape.valueDim());
            store(gradients.dDecay(), t, head, 0);
            store(gradients.dBeta(), t, head, LANES);
        }

        private void store(Tensor target, int t, int head, int from) {
            target.memory().set(Memory.FLOAT, at(target, t, head, 1), (float) sum(shared, from));
        }

        /** Of the lanes from there on, in order. */
        private static double sum(double[] lanes, int from) {
            double sum = 0;
            for (int i = 0; i < LANES; i++) {
                sum += lanes[from + i];
            }
            return sum;
        }

        private void columns(int c, double[] before, double kept, double beta) {
            DoubleVector dot = DoubleVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                DoubleVector s = DoubleVector.fromArray(SPECIES, before, i * width + c).mul(kept);
                s.intoArray(before, i * width + c);
                dot = s.fma(DoubleVector.broadcast(SPECIES, k[i]), dot);
            }
            DoubleVector error = DoubleVector.fromArray(SPECIES, v, c).sub(dot);
            DoubleVector u = error.mul(beta);
            DoubleVector ofOut = DoubleVector.fromArray(SPECIES, d, c);
            DoubleVector du = DoubleVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                DoubleVector g = ofOut.fma(DoubleVector.broadcast(SPECIES, q[i]),
                        DoubleVector.fromArray(SPECIES, gradient, i * width + c));
                g.intoArray(gradient, i * width + c);
                du = g.fma(DoubleVector.broadcast(SPECIES, k[i]), du);
                DoubleVector s = u.fma(DoubleVector.broadcast(SPECIES, k[i]),
                        DoubleVector.fromArray(SPECIES, before, i * width + c));
                s.fma(ofOut, DoubleVector.fromArray(SPECIES, dQuery, i * LANES)).intoArray(dQuery, i * LANES);
            }
            du.fma(error, DoubleVector.fromArray(SPECIES, shared, LANES)).intoArray(shared, LANES);
            DoubleVector dError = du.mul(beta);
            dError.intoArray(dValue, c);
            intoState(c, before, kept, u, dError);
        }

        /** What is left of a token: the gradients of its key and decay, and of the state before it. */
        private void intoState(int c, double[] before, double kept, DoubleVector u, DoubleVector dError) {
            DoubleVector ofDecay = DoubleVector.fromArray(SPECIES, shared, 0);
            for (int i = 0; i < keyDim; i++) {
                DoubleVector g = DoubleVector.fromArray(SPECIES, gradient, i * width + c);
                DoubleVector s = DoubleVector.fromArray(SPECIES, before, i * width + c);
                g.mul(u).sub(s.mul(dError)).add(DoubleVector.fromArray(SPECIES, dKey, i * LANES)).intoArray(dKey,
                        i * LANES);
                DoubleVector left = dError.fma(DoubleVector.broadcast(SPECIES, -k[i]), g);
                ofDecay = left.fma(s, ofDecay);
                left.mul(kept).intoArray(gradient, i * width + c);
            }
            ofDecay.intoArray(shared, 0);
        }
    }
}
