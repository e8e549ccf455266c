package dev.optgptq.gptq.convert.fit;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Optional;
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
public record SharedValueFit(DeviceAlgebra algebra, int heads, int groups) {

    private static final int ROUNDS = 3;
    private static final int STEPS = 8;

    /**
     * Shares and an output projection, F64.
     *
     * @param shares T_g, group under group [G d, m]
     * @param output O, head under head [H d, n]
     */
    public record Values(Tensor shares, Tensor output, @Nullable Tensor bias) {}

    /** The solution, the present values if they were best. */
    public record Result(Values values, Fit fit) {}

    /**
     * Fits them.
     *
     * @param train of u, heads side by side [1, H m]; its tensors are overwritten
     * @param start the values to begin with
     * @param arena owns the solution
     */
    public Result refit(LinearMoments train, LinearMoments heldOut, Values start, TensorArena arena) {
        double before = error(heldOut, start);
        double best = before;
        double chosen = Double.NaN;
        for (double ridge : Fit.RIDGES) {
            try (TensorArena scratch = algebra.device().arena()) {
                Optional<Values> found = solve(train, ridge, start, scratch);
                double error = found.map(values -> error(heldOut, values)).orElse(Double.NaN);
                if (error < best) {
                    best = error;
                    chosen = ridge;
                }
            }
        }
        if (!Double.isNaN(chosen)) {
            Optional<Values> all = solve(train.absorb(heldOut, algebra), chosen, start, arena);
            if (all.isPresent()) {
                return new Result(all.get(), new Fit(chosen, before, best));
            }
        }
        return new Result(start, Fit.unchanged(before));
    }

    private double error(LinearMoments moments, Values values) {
        try (TensorArena scratch = algebra.device().arena()) {
            return new SharedValues(algebra, heads, groups).moments(moments, values.shares, scratch).error(
                    values.output,
                    values.bias, algebra);
        }
    }

    /** The alternation for one ridge. */
    private Optional<Values> solve(LinearMoments moments, double ridge, Values start, TensorArena arena) {
        SharedValues shared = new SharedValues(algebra, heads, groups);
        Tensor shares = algebra.copy(start.shares, arena);
        Tensor output = arena.matrix(DType.F64, start.output.rows(), start.output.columns());
        try (TensorArena scratch = algebra.device().arena()) {
            LinearMoments centred = moments.centred(start.bias != null, algebra, scratch);
            Optional<ShareSystem> system = ShareSystem.of(shared, centred, ridge, start.shares, scratch);
            if (system.isEmpty() || !output(shared, centred, ridge, start, shares, output)) {
                return Optional.empty();
            }
            for (int round = 0; round < ROUNDS; round++) {
                if (!system.get().improve(shares, output, STEPS)
                        || !output(shared, centred, ridge, start, shares, output)) {
                    return Optional.empty();
                }
            }
            Tensor bias = start.bias == null
                    ? null
                    : shared.moments(moments, shares, scratch).bias(output, algebra, arena);
            scale(shared, system.get(), shares, output);
            return Optional.of(new Values(shares, output, bias));
        }
    }

    /** O = (T G T^T + lambda I)^-1 (T E[u^T y] + lambda O_0). */
    private boolean output(SharedValues shared, LinearMoments centred, double ridge, Values start, Tensor shares,
            Tensor output) {
        try (TensorArena scratch = algebra.device().arena()) {
            LinearMoments of = shared.moments(centred, shares, scratch);
            double lambda = ridge * algebra.meanDiagonal(of.inner());
            algebra.addToDiagonal(lambda, of.inner());
            algebra.device().float64().combine(1, of.cross(), 0, output);
            algebra.add(lambda, start.output, output);
            return algebra.device().float64().solve(of.inner(), output);
        }
    }

    /** Gives shared values the energy of a member's. */
    private void scale(SharedValues shared, ShareSystem system, Tensor shares, Tensor output) {
        for (int group = 0; group < groups; group++) {
            double factor = system.energyRatio(shares, group);
            Tensor share = shared.ofGroup(shares, group);
            algebra.device().float64().combine(factor, share, 0, share);
            for (int head = 0; head < heads; head++) {
                if (shared.group(head) == group) {
                    Tensor rows = shared.rows(output, head);
                    algebra.device().float64().combine(1 / factor, rows, 0, rows);
                }
            }
        }
    }
}
