package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Refits a linear layer: min E|y - u w - b|^2 + lambda mean(diag) |w - w_0|^2 (ridge regression towards the present weights,
 * Hoerl and Kennard 1970). Lambda is chosen on held-out tokens, "no change" among the candidates, and then solved with all.
 */
public record RidgeFit(Dense dense) {

    /**
     * The solution.
     *
     * @param weight [m, n], the present one if it was best
     */
    public record Result(Matrix weight, @Nullable Matrix bias, Fit fit) {}

    /** Refits w_0 [m, n] and b_0 [1, n], null where there is none. */
    public Result refit(LinearMoments train, LinearMoments heldOut, Matrix weight, @Nullable Matrix bias) {
        double before = heldOut.error(weight, bias, dense);
        double best = before;
        double chosen = Double.NaN;
        for (double ridge : Fit.RIDGES) {
            Optional<Result> found = solve(train, ridge, weight, bias != null);
            if (found.isPresent()) {
                double error = heldOut.error(found.get().weight(), found.get().bias(), dense);
                if (error < best) {
                    best = error;
                    chosen = ridge;
                }
            }
        }
        if (!Double.isNaN(chosen)) {
            Optional<Result> all = solve(train.with(heldOut), chosen, weight, bias != null);
            if (all.isPresent()) {
                return new Result(all.get().weight(), all.get().bias(), new Fit(chosen, before, best));
            }
        }
        return new Result(weight, bias, Fit.unchanged(before));
    }

    private Optional<Result> solve(LinearMoments moments, double ridge, Matrix weight, boolean hasBias) {
        LinearMoments m = moments.centred(hasBias);
        double lambda = ridge * m.inner().meanDiagonal();
        return dense.solve(m.inner().plusDiagonal(lambda), m.cross().plus(weight.times(lambda)))
                .map(w -> new Result(w, hasBias ? moments.bias(w, dense) : null, Fit.unchanged(0)));
    }
}
