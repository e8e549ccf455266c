package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Refits a linear layer: min E|y - u w - b|^2 + lambda mean(diag) |w - w_0|^2 (ridge regression towards the present weights,
 * Hoerl and Kennard 1970). Lambda is chosen on held-out tokens, "no change" among the candidates, and then solved with all.
 */
public record RidgeFit(DeviceAlgebra algebra) {

    /**
     * The solution.
     *
     * @param weight [m, n] F64, the present one if it was best
     */
    public record Result(Tensor weight, @Nullable Tensor bias, Fit fit) {}

    /** Weights for one lambda. */
    private record Solved(Tensor weight, @Nullable Tensor bias) {}

    /**
     * Refits w_0 [m, n] and b_0 [1, n], null where there is none.
     *
     * @param train its tensors are overwritten
     * @param arena owns the solution
     */
    public Result refit(LinearMoments train, LinearMoments heldOut, Tensor weight, @Nullable Tensor bias,
            TensorArena arena) {
        double before = heldOut.error(weight, bias, algebra);
        double best = before;
        double chosen = Double.NaN;
        for (double ridge : Fit.RIDGES) {
            try (TensorArena scratch = algebra.device().arena()) {
                Optional<Solved> found = solve(train, ridge, weight, bias != null, scratch);
                double error = found.map(with -> heldOut.error(with.weight, with.bias, algebra)).orElse(Double.NaN);
                if (error < best) {
                    best = error;
                    chosen = ridge;
                }
            }
        }
        if (!Double.isNaN(chosen)) {
            Optional<Solved> all = solve(train.absorb(heldOut, algebra), chosen, weight, bias != null, arena);
            if (all.isPresent()) {
                return new Result(all.get().weight, all.get().bias, new Fit(chosen, before, best));
            }
        }
        return new Result(weight, bias, Fit.unchanged(before));
    }

    private Optional<Solved> solve(LinearMoments moments, double ridge, Tensor weight, boolean hasBias,
            TensorArena arena) {
        try (TensorArena scratch = algebra.device().arena()) {
            LinearMoments m = moments.centred(hasBias, algebra, scratch);
            double lambda = ridge * algebra.meanDiagonal(m.inner());
            Tensor system = hasBias ? m.inner() : algebra.copy(m.inner(), scratch);
            algebra.addToDiagonal(lambda, system);
            Tensor solution = algebra.copy(m.cross(), arena);
            algebra.add(lambda, weight, solution);
            if (!algebra.device().float64().solve(system, solution)) {
                return Optional.empty();
            }
            return Optional.of(new Solved(solution, hasBias ? moments.bias(solution, algebra, arena) : null));
        }
    }
}
