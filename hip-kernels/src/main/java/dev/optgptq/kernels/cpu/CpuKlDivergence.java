package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
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
    /** Floats that widen to one vector of doubles. */
    private static final VectorSpecies<Float> HALF = VectorSpecies.of(float.class,
            VectorShape.forBitSize(SPECIES.vectorBitSize() / 2));
    /** Columns whose powers are kept: they and their logits stay in the first cache. */
    private static final int CHUNK = 1024;
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
    }

    static void run(Parallel parallel, Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        Rows.forEach(parallel, teacher, row -> {
            Row p = Row.of(teacher, row);
            Row q = Row.of(student, row);
            double divergence = divergence(p, q);
            boolean agree = !Double.isNaN(divergence) && firstLargest(p) == firstLargest(q);
            kl.memory().set(Memory.DOUBLE, 8 * row, divergence);
            agrees.memory().set(Memory.INT, 4 * row, agree ? 1 : 0);
        });
    }

    private static int firstLargest(Row row) {
        int c = 0;
        for (; c <= row.columns() - LANES; c += LANES) {
            VectorMask<Float> largest = Memory.load(row.logits(), row.at() + 4L * c).eq(row.max());
            if (largest.anyTrue()) {
                return c + largest.firstTrue();
            }
        }
        while (c < row.columns() && row.logits().get(Memory.FLOAT, row.at() + 4L * c) != row.max()) {
            c++;
        }
        return c;
    }

    private static double divergence(Row p, Row q) {
        double logRatio = Math.log(q.sum()) - Math.log(p.sum());
        float[] powersP = new float[CHUNK];
        float[] powersQ = new float[CHUNK];
        double sum = 0;
        for (int from = 0; from < p.columns(); from += CHUNK) {
            int count = Math.min(CHUNK, p.columns() - from);
            powers(p.logits(), p.at() + 4L * from, count, p.max(), powersP);
            powers(q.logits(), q.at() + 4L * from, count, q.max(), powersQ);
            sum += divergence(p, powersP, q, powersQ, logRatio, from, count);
        }
        return sum;
    }

    /** powers = e^(x - max) */
    private static void powers(MemorySegment x, long at, int count, float max, float[] powers) {
        int c = 0;
        for (; c <= count - LANES; c += LANES) {
            VectorMath.exp(Memory.load(x, at + 4L * c).sub(max)).intoArray(powers, c);
        }
        if (c < count) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, count);
            VectorMath.exp(Memory.load(x, at + 4L * c, lanes).sub(max)).intoArray(powers, c, lanes);
        }
    }

    /** The terms of the columns from {@code from} on. */
    private static double divergence(Row p, float[] powersP, Row q, float[] powersQ, double logRatio, int from,
            int count) {
        MemorySegment teacher = p.logits();
        MemorySegment student = q.logits();
        long pAt = p.at() + 4L * from;
        long qAt = q.at() + 4L * from;
        double maxP = p.max();
        double maxQ = q.max();
        double shareP = 1 / p.sum();
        double shareQ = 1 / q.sum();
        DoubleVector sums = DoubleVector.zero(DOUBLES);
        int c = 0;
        // The maxima go first: beside a large one the logarithms would be rounded away.
        for (; c <= count - DOUBLES.length(); c += DOUBLES.length()) {
            DoubleVector x = widen(load(student, qAt + 4L * c)).sub(maxQ)
                    .sub(widen(load(teacher, pAt + 4L * c)).sub(maxP))
                    .sub(logRatio);
            sums = sums.add(term(widen(FloatVector.fromArray(HALF, powersP, c)).mul(shareP),
                    widen(FloatVector.fromArray(HALF, powersQ, c)).mul(shareQ), x));
        }
        double sum = CpuCrossEntropy.sumOfLanes(sums);
        for (; c < count; c++) {
            double x = (student.get(Memory.FLOAT, qAt + 4L * c) - maxQ)
                    - (teacher.get(Memory.FLOAT, pAt + 4L * c) - maxP)
                    - logRatio;
            sum += term(powersP[c] * shareP, powersQ[c] * shareQ, x);
        }
        return sum;
    }

    private static FloatVector load(MemorySegment memory, long offset) {
        return FloatVector.fromMemorySegment(HALF, memory, offset, ByteOrder.LITTLE_ENDIAN);
    }

    private static DoubleVector widen(FloatVector half) {
        return (DoubleVector) half.convertShape(VectorOperators.F2D, DOUBLES, 0);
    }

    /** p (e^x - 1 - x) */
    private static DoubleVector term(DoubleVector p, DoubleVector q, DoubleVector x) {
        DoubleVector series = DoubleVector.broadcast(DOUBLES, SERIES[0]);
        for (int i = 1; i < SERIES.length; i++) {
            series = series.fma(x, DoubleVector.broadcast(DOUBLES, SERIES[i]));
        }
        DoubleVector px = p.mul(x);
        VectorMask<Double> near = x.mul(x).compare(VectorOperators.LT, 1);
        return q.sub(p).sub(px).blend(px.mul(x).mul(series), near);
    }

    private static double term(double p, double q, double x) {
        double series = SERIES[0];
        for (int i = 1; i < SERIES.length; i++) {
            series = Math.fma(series, x, SERIES[i]);
        }
        return x * x < 1 ? p * x * x * series : q - p - p * x;
    }

    static void gradient(Parallel parallel, Tensor teacher, Tensor student, Tensor weights) {
        Rows.forEach(parallel, teacher, row -> {
            Row p = Row.of(teacher, row);
            Row q = Row.of(student, row);
            float weight = weights.memory().get(Memory.FLOAT, 4 * row);
            gradient(p, (float) (weight / p.sum()), q, (float) (weight / q.sum()));
        });
    }

    /** q = e^(q - max) scaleQ - e^(p - max) scaleP */
    private static void gradient(Row p, float scaleP, Row q, float scaleQ) {
        MemorySegment teacher = p.logits();
        MemorySegment student = q.logits();
        int c = 0;
        for (; c <= p.columns() - LANES; c += LANES) {
            FloatVector ours = VectorMath.exp(Memory.load(student, q.at() + 4L * c).sub(q.max()));
            FloatVector theirs = VectorMath.exp(Memory.load(teacher, p.at() + 4L * c).sub(p.max()));
            Memory.store(ours.mul(scaleQ).sub(theirs.mul(scaleP)), student, q.at() + 4L * c);
        }
        if (c < p.columns()) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, p.columns());
            FloatVector ours = VectorMath.exp(Memory.load(student, q.at() + 4L * c, lanes).sub(q.max()));
            FloatVector theirs = VectorMath.exp(Memory.load(teacher, p.at() + 4L * c, lanes).sub(p.max()));
            Memory.store(ours.mul(scaleQ).sub(theirs.mul(scaleP)), student, q.at() + 4L * c, lanes);
        }
    }
}
