package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;

/**
 * The upper triangle of a matrix with what each column holds lying together, for loops in which an input's row collects
 * from all rows before it.
 *
 * @param values u[k, i] at i * inputs + k, for k to i
 */
record UpperColumns(float[] values, int inputs) {

    /** @param u F32 [inputs, inputs]; never used below its diagonal */
    static UpperColumns of(Tensor u, int inputs) {
        float[] row = new float[inputs];
        float[] columns = new float[inputs * inputs];
        for (int i = 0; i < inputs; i++) {
            MemorySegment.copy(u.memory(), Memory.FLOAT, Memory.row(u, i), row, 0, inputs);
            for (int j = i; j < inputs; j++) {
                columns[j * inputs + i] = row[j];
            }
        }
        return new UpperColumns(columns, inputs);
    }

    float diagonal(int i) {
        return values[i * inputs + i];
    }

    /**
     * sums[i] += sign u[k, i] terms[k] over k in [from, to) in order, each a fused multiply-add, four vectors of outputs at a
     * time.
     *
     * @param sign 1 or -1
     * @param terms [inputs, WIDTH]
     * @param sums [inputs, WIDTH]
     */
    void collect(int i, int from, int to, float sign, float[] terms, float[] sums) {
        for (int c = 0; c < WIDTH; c += 4 * LANES) {
            int at = i * WIDTH + c;
            FloatVector sum0 = FloatVector.fromArray(SPECIES, sums, at);
            FloatVector sum1 = FloatVector.fromArray(SPECIES, sums, at + LANES);
            FloatVector sum2 = FloatVector.fromArray(SPECIES, sums, at + 2 * LANES);
            FloatVector sum3 = FloatVector.fromArray(SPECIES, sums, at + 3 * LANES);
            for (int k = from; k < to; k++) {
                FloatVector factor = FloatVector.broadcast(SPECIES, sign * values[i * inputs + k]);
                int term = k * WIDTH + c;
                sum0 = factor.fma(FloatVector.fromArray(SPECIES, terms, term), sum0);
                sum1 = factor.fma(FloatVector.fromArray(SPECIES, terms, term + LANES), sum1);
                sum2 = factor.fma(FloatVector.fromArray(SPECIES, terms, term + 2 * LANES), sum2);
                sum3 = factor.fma(FloatVector.fromArray(SPECIES, terms, term + 3 * LANES), sum3);
            }
            sum0.intoArray(sums, at);
            sum1.intoArray(sums, at + LANES);
            sum2.intoArray(sums, at + 2 * LANES);
            sum3.intoArray(sums, at + 3 * LANES);
        }
    }
}
