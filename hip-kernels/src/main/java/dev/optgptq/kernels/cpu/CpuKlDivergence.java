package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The divergence of two softmaxes and its gradient, rows in parallel: exponentials in float, the rest in double.
 *
 * <p>
 * Two models that are close differ by far less than a float's rounding of their log-probabilities, so the sum is not taken
 * as it is written: p and q both sum to 1, and with x = log q - log p
 *
 * <pre>
 *   KL = sum p (log p - log q) = sum (q - p - p x) = sum p (e^x - 1 - x)
 * </pre>
 *
 * has no negative term, and an error in either normaliser, the same for every x of a row, cancels to first order. Where
 * |x| is below 1 the term is its series, which does not cancel; so the relative error stays below 1e-5 however close the
 * two are.
 */
final class CpuKlDivergence {

    private static final VectorSpecies<Double> DOUBLES = VectorSpecies.of(double.class, SPECIES.vectorShape());
    /** (e^x - 1 - x) / x^2 to the power 8, highest first: 1/10! .. 1/2!. What is left out is below 1e-7 of it at 1. */
    private static final double[] SERIES = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
            1.0 / 24, 1.0 / 6, 1.0 / 2};

    private CpuKlDivergence() {}

    /** A row of logits and what its softmax needs: e^(x - max) / sum. */
    private record Row(MemorySegment logits, long at, int columns, float max, double sum) {

        static Row of(Tensor tensor, long row) {
            int columns = Math.toIntExact(tensor.columns());
            long at = Memory.row(tensor, row);
            float max = CpuCrossEntropy.max(tensor.memory(), at, columns);
            return new Row(tensor.memory(), at, columns, max,
                    CpuCrossEntropy.sumOfExp(tensor.memory(), at, columns, max));
        }

        FloatVector load(int column) {
            return Memory.load(logits, at + 4L * column);
        }

        /** The largest logit in the lanes beyond the row. */
        FloatVector load(int column, VectorMask<Float> lanes) {
            return FloatVector.broadcast(SPECIES, max).blend(Memory.load(logits, at + 4L * column, lanes), lanes);
        }

        int firstLargest() {
            for (int c = 0; c < columns; c++) {
                if (logits.get(Memory.FLOAT, at + 4L * c) == max) {
                    return c;
                }
            }
            return columns;
        }
    }

    static void run(Parallel parallel, Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        Rows.forEach(parallel, teacher, row -> {
            Row p = Row.of(teacher, row);
            Row q = Row.of(student, row);
            double divergence = divergence(p, q);
            boolean agree = !Double.isNaN(divergence) && p.firstLargest() == q.firstLargest();
            kl.memory().set(Memory.DOUBLE, 8 * row, divergence);
            agrees.memory().set(Memory.INT, 4 * row, agree ? 1 : 0);
        });
    }

    private static double divergence(Row p, Row q) {
        double logRatio = Math.log(q.sum()) - Math.log(p.sum());
        DoubleVector low = DoubleVector.zero(DOUBLES);
        DoubleVector high = low;
        int c = 0;
        for (; c <= p.columns() - LANES; c += LANES) {
            FloatVector t = p.load(c);
            FloatVector s = q.load(c);
            FloatVector powerT = VectorMath.exp(t.sub(p.max()));
            FloatVector powerS = VectorMath.exp(s.sub(q.max()));
            low = low.add(terms(p, q, logRatio, t, s, powerT, powerS, 0));
            high = high.add(terms(p, q, logRatio, t, s, powerT, powerS, 1));
        }
        if (c < p.columns()) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, p.columns());
            FloatVector zero = FloatVector.zero(SPECIES);
            FloatVector t = p.load(c, lanes);
            FloatVector s = q.load(c, lanes);
            // Without probability a lane beyond the row adds nothing.
            FloatVector powerT = zero.blend(VectorMath.exp(t.sub(p.max())), lanes);
            FloatVector powerS = zero.blend(VectorMath.exp(s.sub(q.max())), lanes);
            low = low.add(terms(p, q, logRatio, t, s, powerT, powerS, 0));
            high = high.add(terms(p, q, logRatio, t, s, powerT, powerS, 1));
        }
        return CpuCrossEntropy.sumOfLanes(low.add(high));
    }

    /** p (e^x - 1 - x) of one half of the lanes. */
    private static DoubleVector terms(Row teacher, Row student, double logRatio, FloatVector t, FloatVector s,
            FloatVector powerT, FloatVector powerS, int half) {
        DoubleVector x = widen(s, half).sub(student.max()).sub(widen(t, half).sub(teacher.max())).sub(logRatio);
        DoubleVector p = widen(powerT, half).mul(1 / teacher.sum());
        DoubleVector q = widen(powerS, half).mul(1 / student.sum());
        DoubleVector series = DoubleVector.zero(DOUBLES);
        for (double coefficient : SERIES) {
            series = series.fma(x, DoubleVector.broadcast(DOUBLES, coefficient));
        }
        DoubleVector far = q.sub(p).sub(p.mul(x));
        return far.blend(p.mul(x).mul(x).mul(series), x.abs().compare(VectorOperators.LT, 1));
    }

    private static DoubleVector widen(FloatVector vector, int half) {
        return (DoubleVector) vector.convertShape(VectorOperators.F2D, DOUBLES, half);
    }

    static void gradient(Parallel parallel, Tensor teacher, Tensor student, Tensor weights) {
        Rows.forEach(parallel, teacher, row -> {
            Row p = Row.of(teacher, row);
            Row q = Row.of(student, row);
            float weight = weights.memory().get(Memory.FLOAT, 4 * row);
            float scaleP = (float) (weight / p.sum());
            float scaleQ = (float) (weight / q.sum());
            int c = 0;
            for (; c <= p.columns() - LANES; c += LANES) {
                Memory.store(difference(p, p.load(c), scaleP, q, q.load(c), scaleQ), q.logits(), q.at() + 4L * c);
            }
            if (c < p.columns()) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, p.columns());
                Memory.store(difference(p, p.load(c, lanes), scaleP, q, q.load(c, lanes), scaleQ), q.logits(),
                        q.at() + 4L * c, lanes);
            }
        });
    }

    private static FloatVector difference(Row p, FloatVector t, float scaleP, Row q, FloatVector s, float scaleQ) {
        return VectorMath.exp(s.sub(q.max())).mul(scaleQ).sub(VectorMath.exp(t.sub(p.max())).mul(scaleP));
    }
}
