package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Fits shared values and the output projection together to the target output of a layer: min E|y - sum_h (T_g u_h) O_h
 * - b|^2 over T_g [d, m], one per group g, and O_h [d, n], one per query head, u_h [1, m] being a head's averages of
 * its group's values. Alternating: O by ridge least squares, T by conjugate gradients, both shrunk towards their
 * initial values.
 *
 * @param heads H query heads, in groups of neighbours
 * @param groups G
 */
public record SharedValueFit(Dense dense, int heads, int groups) {

    private static final int ROUNDS = 3;
    private static final int STEPS = 8;
    /** Lifts the preconditioner's factors, of their mean diagonals. */
    private static final double LIFT = 1e-5;

    /**
     * The solution.
     *
     * @param shares T_g, one per group
     * @param output O, head under head [H d, n]
     */
    public record Result(List<Matrix> shares, Matrix output, @Nullable Matrix bias, Fit fit) {}

    /**
     * Fits them.
     *
     * @param train of u, heads side by side [1, H m]
     * @param shares T_g to begin with
     * @param output [H d, n] to begin with
     */
    public Result refit(LinearMoments train, LinearMoments heldOut, List<Matrix> shares, Matrix output,
            @Nullable Matrix bias) {
        double before = error(heldOut, shares, output, bias);
        double best = before;
        double chosen = Double.NaN;
        for (double ridge : Fit.RIDGES) {
            Optional<Result> found = solve(train, ridge, shares, output, bias != null);
            if (found.isPresent()) {
                double error = error(heldOut, found.get().shares(), found.get().output(), found.get().bias());
                if (error < best) {
                    best = error;
                    chosen = ridge;
                }
            }
        }
        if (!Double.isNaN(chosen)) {
            Optional<Result> all = solve(train.with(heldOut), chosen, shares, output, bias != null);
            if (all.isPresent()) {
                Result found = all.get();
                return new Result(found.shares(), found.output(), found.bias(), new Fit(chosen, before, best));
            }
        }
        return new Result(shares, output, bias, Fit.unchanged(before));
    }

    private double error(LinearMoments moments, List<Matrix> shares, Matrix output, @Nullable Matrix bias) {
        return ofShared(moments, shares).error(output, bias, dense);
    }

    /** The moments of the shared values, u_h T_g^T for every head [1, H d], from those of u. */
    private LinearMoments ofShared(LinearMoments moments, List<Matrix> shares) {
        int m = shares.getFirst().columns();
        Matrix half = Matrix.stack(dense.each(heads,
                head -> dense.multiply(shares.get(group(head)), moments.inner().rows(head * m, m))));
        Matrix inner = Matrix.stack(dense.each(heads,
                head -> dense.multiplyTransposed(shares.get(group(head)), half.columns(head * m, m)))).symmetrized();
        Matrix cross = Matrix.stack(dense.each(heads,
                head -> dense.multiply(shares.get(group(head)), moments.cross().rows(head * m, m))));
        Matrix input = Matrix.stack(dense.each(heads,
                head -> dense.multiplyTransposed(shares.get(group(head)), moments.input().columns(head * m, m))));
        return new LinearMoments(inner, cross, input.transposed(), moments.target(), moments.targetEnergy(),
                moments.tokens());
    }

    private int group(int head) {
        return head / (heads / groups);
    }

    private Optional<Result> solve(LinearMoments moments, double ridge, List<Matrix> shares, Matrix output,
            boolean hasBias) {
        Turns turns = new Turns(moments.centred(hasBias), ridge, Matrix.stack(shares), output);
        Matrix stacked = Matrix.stack(shares);
        Optional<Matrix> fitted = turns.output(stacked);
        for (int round = 0; round < ROUNDS && fitted.isPresent(); round++) {
            Optional<Matrix> next = turns.shares(stacked, fitted.get());
            if (next.isEmpty()) {
                return Optional.empty();
            }
            stacked = next.get();
            fitted = turns.output(stacked);
        }
        if (fitted.isEmpty()) {
            return Optional.empty();
        }
        List<Matrix> found = turns.split(stacked);
        Matrix bias = hasBias ? ofShared(moments, found).bias(fitted.get(), dense) : null;
        return Optional.of(turns.scaled(found, fitted.get(), bias));
    }

    /** The alternation for one ridge. Shares are stacked group under group, [G d, m]. */
    private final class Turns {
        private final LinearMoments moments;
        private final double ridge;
        private final Matrix startShares;
        private final Matrix startOutput;
        private final int d;
        private final int m;
        /** Per group the mean of its heads' E[u^T u]. */
        private final List<Matrix> inner = new ArrayList<>();

        private Turns(LinearMoments moments, double ridge, Matrix startShares, Matrix startOutput) {
            this.moments = moments;
            this.ridge = ridge;
            this.startShares = startShares;
            this.startOutput = startOutput;
            this.d = startOutput.rows() / heads;
            this.m = startShares.columns();
            int sharing = heads / groups;
            for (int group = 0; group < groups; group++) {
                Matrix sum = Matrix.zeros(m, m);
                for (int head = group * sharing; head < (group + 1) * sharing; head++) {
                    sum = sum.plus(moments.inner().block(head * m, head * m, m, m));
                }
                inner.add(sum.times(1.0 / sharing));
            }
        }

        private List<Matrix> split(Matrix stacked) {
            List<Matrix> parts = new ArrayList<>();
            for (int group = 0; group < groups; group++) {
                parts.add(stacked.rows(group * d, d));
            }
            return parts;
        }

        private Matrix ofHead(Matrix stackedShares, int head) {
            return stackedShares.rows(group(head) * d, d);
        }

        /** O = (T G T^T + lambda I)^-1 (T E[u^T y] + lambda O_0). */
        private Optional<Matrix> output(Matrix shares) {
            LinearMoments shared = ofShared(moments, split(shares));
            Matrix gram = shared.inner();
            double lambda = ridge * gram.meanDiagonal();
            return dense.solve(gram.plusDiagonal(lambda), shared.cross().plus(startOutput.times(lambda)));
        }

        /** T by conjugate gradients on sum_k O_h O_k^T T_k G_kh, preconditioned by the groups' own two factors. */
        private Optional<Matrix> shares(Matrix from, Matrix output) {
            Matrix outer = dense.multiplyTransposed(output, output).symmetrized();
            List<Matrix> left = new ArrayList<>();
            List<Matrix> right = new ArrayList<>();
            double leftMean = 0;
            double rightMean = 0;
            for (int group = 0; group < groups; group++) {
                Matrix own = ownOuter(outer, group);
                Optional<Matrix> inverseLeft = dense.inverse(own.plusDiagonal(LIFT * own.meanDiagonal()));
                Optional<Matrix> inverseRight = dense.inverse(
                        inner.get(group).plusDiagonal(LIFT * inner.get(group).meanDiagonal()));
                if (inverseLeft.isEmpty() || inverseRight.isEmpty()) {
                    return Optional.empty();
                }
                left.add(inverseLeft.get());
                right.add(inverseRight.get());
                leftMean += own.meanDiagonal() / groups;
                rightMean += inner.get(group).meanDiagonal() / groups;
            }
            double lambda = ridge * leftMean * rightMean;
            Matrix wanted = wanted(output).plus(startShares.times(lambda));
            return Optional.of(new ConjugateGradients(x -> image(x, outer).plus(x.times(lambda)),
                    x -> preconditioned(x, left, right)).solve(wanted, from, STEPS));
        }

        private Matrix ownOuter(Matrix outer, int group) {
            int sharing = heads / groups;
            Matrix sum = Matrix.zeros(d, d);
            for (int head = group * sharing; head < (group + 1) * sharing; head++) {
                sum = sum.plus(outer.block(head * d, head * d, d, d));
            }
            return sum;
        }

        private Matrix preconditioned(Matrix x, List<Matrix> left, List<Matrix> right) {
            List<Matrix> parts = new ArrayList<>();
            for (int group = 0; group < groups; group++) {
                parts.add(dense.multiply(dense.multiply(left.get(group), x.rows(group * d, d)), right.get(group)));
            }
            return Matrix.stack(parts);
        }

        private Matrix wanted(Matrix output) {
            return summed(head -> dense.multiplyTransposed(output.rows(head * d, d),
                    moments.cross().rows(head * m, m)));
        }

        private Matrix image(Matrix x, Matrix outer) {
            // [H m, H d]: block k is T_k^T (O_k O_h^T) for every h beside each other.
            Matrix all = Matrix.stack(dense.each(heads,
                    head -> dense.transposedMultiply(ofHead(x, head), outer.rows(head * d, d))));
            return summed(head -> dense.transposedMultiply(all.columns(head * d, d),
                    moments.inner().columns(head * m, m)));
        }

        private Matrix summed(IntFunction<Matrix> ofHead) {
            List<Matrix> all = dense.each(heads, ofHead);
            int sharing = heads / groups;
            List<Matrix> sums = new ArrayList<>();
            for (int group = 0; group < groups; group++) {
                sums.add(all.subList(group * sharing, (group + 1) * sharing).stream().reduce(Matrix::plus)
                        .orElseThrow());
            }
            return Matrix.stack(sums);
        }

        /** With shared values of the energy of a member's. */
        private Result scaled(List<Matrix> shares, Matrix output, @Nullable Matrix bias) {
            int members = m / d;
            List<Matrix> scaledShares = new ArrayList<>();
            List<Matrix> scaledOutput = new ArrayList<>();
            double[] factors = new double[groups];
            for (int group = 0; group < groups; group++) {
                double member = inner.get(group).trace() / members;
                double own = dense.congruence(shares.get(group), inner.get(group)).trace();
                factors[group] = member > 0 && own > 0 ? Math.sqrt(member / own) : 1;
                scaledShares.add(shares.get(group).times(factors[group]));
            }
            for (int head = 0; head < heads; head++) {
                scaledOutput.add(output.rows(head * d, d).times(1 / factors[group(head)]));
            }
            return new Result(scaledShares, Matrix.stack(scaledOutput), bias, Fit.unchanged(0));
        }
    }
}
