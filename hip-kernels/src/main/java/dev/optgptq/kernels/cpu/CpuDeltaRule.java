package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.DeltaOps.DeltaGradients;
import dev.optgptq.kernels.ops.DeltaOps.DeltaInputs;
import dev.optgptq.kernels.ops.DeltaOps.DeltaShape;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * The gated delta rule over the value heads of one key head of one sequence. A state [keyDim][width] has a value head's columns
 * along the vector lanes: columns are independent except in the gradients of queries and keys.
 */
final class CpuDeltaRule {

    private final DeltaInputs inputs;
    private final DeltaShape shape;
    /** Row of the sequence's position 0. */
    private final long first;
    private final int keyHead;
    private final int keyDim;
    /** valueDim in whole vectors; the columns between are 0. */
    private final int width;
    private final float[] q;
    private final float[] k;
    private final float[] v;
    private final float[] out;
    private final float[] state;

    CpuDeltaRule(DeltaInputs inputs, long first, int keyHead) {
        this.inputs = inputs;
        this.shape = inputs.shape();
        this.first = first;
        this.keyHead = keyHead;
        this.keyDim = shape.keyDim();
        this.width = Math.ceilDiv(shape.valueDim(), LANES) * LANES;
        this.q = new float[keyDim];
        this.k = new float[keyDim];
        this.v = new float[width];
        this.out = new float[width];
        this.state = new float[keyDim * width];
    }

    void forward(Tensor target) {
        for (int head = keyHead * shape.group(); head < (keyHead + 1) * shape.group(); head++) {
            Arrays.fill(state, 0);
            for (int t = 0; t < shape.sequenceLength(); t++) {
                load(head, t);
                step(kept(head, t), beta(head, t));
                MemorySegment.copy(out, 0, target.memory(), Memory.FLOAT, at(target, t, head, shape.valueDim()),
                        shape.valueDim());
            }
        }
    }

    /** Where a head's columns of a token begin. */
    private long at(Tensor tensor, int t, int head, int columns) {
        return Memory.row(tensor, first + t) + 4L * head * columns;
    }

    private void read(Tensor tensor, int t, int head, int columns, float[] target) {
        MemorySegment.copy(tensor.memory(), Memory.FLOAT, at(tensor, t, head, columns), target, 0, columns);
    }

    private void load(int head, int t) {
        read(inputs.q(), t, keyHead, keyDim, q);
        for (int i = 0; i < keyDim; i++) {
            q[i] *= shape.scale();
        }
        read(inputs.k(), t, keyHead, keyDim, k);
        read(inputs.v(), t, head, shape.valueDim(), v);
    }

    private float kept(int head, int t) {
        return (float) Math.exp(inputs.decay().memory().get(Memory.FLOAT, at(inputs.decay(), t, head, 1)));
    }

    private float beta(int head, int t) {
        return inputs.beta().memory().get(Memory.FLOAT, at(inputs.beta(), t, head, 1));
    }

    /** S = kept S; u = beta (v - S^T k); S = S + k u^T; out = S^T q. */
    private void step(float kept, float beta) {
        for (int c = 0; c < width; c += LANES) {
            FloatVector dot = FloatVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                FloatVector s = FloatVector.fromArray(SPECIES, state, i * width + c).mul(kept);
                s.intoArray(state, i * width + c);
                dot = s.fma(FloatVector.broadcast(SPECIES, k[i]), dot);
            }
            FloatVector u = FloatVector.fromArray(SPECIES, v, c).sub(dot).mul(beta);
            FloatVector sum = FloatVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                FloatVector s = u.fma(FloatVector.broadcast(SPECIES, k[i]),
                        FloatVector.fromArray(SPECIES, state, i * width + c));
                s.intoArray(state, i * width + c);
                sum = s.fma(FloatVector.broadcast(SPECIES, q[i]), sum);
            }
            sum.intoArray(out, c);
        }
    }

    /** The gradients of this key head and its value heads; states are computed again from one in every chunk. */
    void backward(Tensor dOut, DeltaGradients gradients) {
        int length = shape.sequenceLength();
        int chunk = (int) Math.ceil(Math.sqrt(length));
        float[][] starts = new float[Math.ceilDiv(length, chunk)][state.length];
        float[][] steps = new float[chunk][state.length];
        float[] queries = new float[length * keyDim];
        float[] keys = new float[length * keyDim];
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
            write(queries, t, gradients.dq());
            write(keys, t, gradients.dk());
        }
    }

    private void write(float[] sums, int t, Tensor target) {
        MemorySegment.copy(sums, t * keyDim, target.memory(), Memory.FLOAT, at(target, t, keyHead, keyDim), keyDim);
    }

    @FunctionalInterface
    private interface Before {
        void state(int t, float[] state);
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
        private final float[] gradient = new float[keyDim * width];
        private final float[] d = new float[width];
        private final float[] dValue = new float[width];
        /** Of each key, by lane. */
        private final float[] dQuery = new float[keyDim * LANES];
        private final float[] dKey = new float[keyDim * LANES];
        /** Of the decay and of beta, by lane. */
        private final float[] shared = new float[2 * LANES];

        void begin() {
            Arrays.fill(gradient, 0);
        }

        void token(int head, int t, float[] before, Tensor dOut, DeltaGradients gradients, float[] queries,
                float[] keys) {
            load(head, t);
            read(dOut, t, head, shape.valueDim(), d);
            Arrays.fill(dQuery, 0);
            Arrays.fill(dKey, 0);
            Arrays.fill(shared, 0);
            float kept = kept(head, t);
            for (int c = 0; c < width; c += LANES) {
                columns(c, before, kept, beta(head, t));
            }
            for (int i = 0; i < keyDim; i++) {
                queries[t * keyDim + i] += shape.scale()
                        * VectorMath.sum(FloatVector.fromArray(SPECIES, dQuery, i * LANES));
                keys[t * keyDim + i] += VectorMath.sum(FloatVector.fromArray(SPECIES, dKey, i * LANES));
            }
            MemorySegment.copy(dValue, 0, gradients.dv().memory(), Memory.FLOAT,
                    at(gradients.dv(), t, head, shape.valueDim()), shape.valueDim());
            store(gradients.dDecay(), t, head, 0);
            store(gradients.dBeta(), t, head, LANES);
        }

        private void store(Tensor target, int t, int head, int from) {
            target.memory().set(Memory.FLOAT, at(target, t, head, 1),
                    VectorMath.sum(FloatVector.fromArray(SPECIES, shared, from)));
        }

        private void columns(int c, float[] before, float kept, float beta) {
            FloatVector dot = FloatVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                FloatVector s = FloatVector.fromArray(SPECIES, before, i * width + c).mul(kept);
                s.intoArray(before, i * width + c);
                dot = s.fma(FloatVector.broadcast(SPECIES, k[i]), dot);
            }
            FloatVector error = FloatVector.fromArray(SPECIES, v, c).sub(dot);
            FloatVector u = error.mul(beta);
            FloatVector ofOut = FloatVector.fromArray(SPECIES, d, c);
            FloatVector du = FloatVector.zero(SPECIES);
            for (int i = 0; i < keyDim; i++) {
                FloatVector g = ofOut.fma(FloatVector.broadcast(SPECIES, q[i]),
                        FloatVector.fromArray(SPECIES, gradient, i * width + c));
                g.intoArray(gradient, i * width + c);
                du = g.fma(FloatVector.broadcast(SPECIES, k[i]), du);
                FloatVector s = u.fma(FloatVector.broadcast(SPECIES, k[i]),
                        FloatVector.fromArray(SPECIES, before, i * width + c));
                s.fma(ofOut, FloatVector.fromArray(SPECIES, dQuery, i * LANES)).intoArray(dQuery, i * LANES);
            }
            du.fma(error, FloatVector.fromArray(SPECIES, shared, LANES)).intoArray(shared, LANES);
            FloatVector dError = du.mul(beta);
            dError.intoArray(dValue, c);
            intoState(c, before, kept, u, dError);
        }

        /** What is left of a token: the gradients of its key and decay, and of the state before it. */
        private void intoState(int c, float[] before, float kept, FloatVector u, FloatVector dError) {
            FloatVector ofDecay = FloatVector.fromArray(SPECIES, shared, 0);
            for (int i = 0; i < keyDim; i++) {
                FloatVector g = FloatVector.fromArray(SPECIES, gradient, i * width + c);
                FloatVector s = FloatVector.fromArray(SPECIES, before, i * width + c);
                g.mul(u).sub(s.mul(dError)).add(FloatVector.fromArray(SPECIES, dKey, i * LANES)).intoArray(dKey,
                        i * LANES);
                FloatVector left = dError.fma(FloatVector.broadcast(SPECIES, -k[i]), g);
                ofDecay = left.fma(s, ofDecay);
                left.mul(kept).intoArray(gradient, i * width + c);
            }
            ofDecay.intoArray(shared, 0);
        }
    }
}
