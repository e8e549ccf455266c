package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.List;

/**
 * How the r heads of a group share one: with z their stacked keys, or values, c = T z is the shared head's, and B_h c
 * replaces that of head h.
 *
 * @param shared T [d, r d]
 * @param spread B_h [d, d], one per head
 * @param residual the share of the weighted energy that is lost, 0 to 1
 */
public record Merge(Matrix shared, List<Matrix> spread, double residual) {

    public Merge {
        spread = List.copyOf(spread);
    }

    /** The same, with c scaled to the members' mean energy: for float16 and for scales of int4. */
    public Merge scaledTo(Matrix moments, Dense dense) {
        double members = moments.trace() / spread.size();
        double shares = dense.congruence(shared, moments).trace();
        if (!(members > 0) || !(shares > 0)) {
            return this;
        }
        double factor = Math.sqrt(members / shares);
        return new Merge(shared.times(factor), spread.stream().map(b -> b.times(1 / factor)).toList(), residual);
    }
}
