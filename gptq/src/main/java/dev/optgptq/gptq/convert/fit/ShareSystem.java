package dev.optgptq.gptq.convert.fit;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Float64Ops;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The least squares of the shares for a given output projection: T by conjugate gradients on sum_k O_h O_k^T T_k G_kh + lambda T,
 * preconditioned by the groups' own two factors.
 */
final class ShareSystem {

    /** Lifts the preconditioner's factors, of their mean diagonals. */
    private static final double LIFT = 1e-5;

    private final DeviceAlgebra algebra;
    private final SharedValues shared;
    private final LinearMoments moments;
    private final double ridge;
    private final Tensor start;
    /** Per group the mean of its heads' E[u^T u], and its inverse. */
    private final List<Tensor> inner = new ArrayList<>();
    private final List<Tensor> innerInverse = new ArrayList<>();
    private double innerMean;

    private ShareSystem(SharedValues shared, LinearMoments moments, double ridge, Tensor start) {
        this.algebra = shared.algebra();
        this.shared = shared;
        this.moments = moments;
        this.ridge = ridge;
        this.start = start;
    }

    /**
     * Empty where a group's moments are not positive definite.
     *
     * @param start shares that the ridge shrinks towards
     * @param arena owns what it keeps
     */
    static Optional<ShareSystem> of(SharedValues shared, LinearMoments moments, double ridge, Tensor start,
            TensorArena arena) {
        ShareSystem system = new ShareSystem(shared, moments, ridge, start);
        return system.prepare(arena) ? Optional.of(system) : Optional.empty();
    }

    private boolean prepare(TensorArena arena) {
        long m = start.columns();
        for (int group = 0; group < shared.groups(); group++) {
            Tensor mean = arena.matrix(DType.F64, m, m);
            for (int head = firstHead(group); head < firstHead(group + 1); head++) {
                Tensor own = shared.columns(shared.rows(moments.inner(), head), head);
                algebra.device().float64().combine(1.0 / shared.sharing(), own, head == firstHead(group) ? 0 : 1, mean);
            }
            Tensor inverse = arena.matrix(DType.F64, m, m);
            if (!liftedInverse(mean, inverse)) {
                return false;
            }
            inner.add(mean);
            innerInverse.add(inverse);
            innerMean += algebra.meanDiagonal(mean) / shared.groups();
        }
        return true;
    }

    private int firstHead(int group) {
        return group * shared.sharing();
    }

    private boolean liftedInverse(Tensor of, Tensor into) {
        try (TensorArena scratch = algebra.device().arena()) {
            Tensor lifted = algebra.copy(of, scratch);
            algebra.addToDiagonal(LIFT * algebra.meanDiagonal(of), lifted);
            return algebra.invert(lifted, into);
        }
    }

    /**
     * Improves the shares [G d, m], in place.
     *
     * @param output [H d, n]
     * @return false where a factor is not positive definite
     */
    boolean improve(Tensor shares, Tensor output, int steps) {
        try (TensorArena scratch = algebra.device().arena()) {
            Tensor outer = algebra.product(output, false, output, true, scratch);
            long d = shares.rows() / shared.groups();
            List<Tensor> left = new ArrayList<>();
            double outerMean = 0;
            for (int group = 0; group < shared.groups(); group++) {
                Tensor own = ownOuter(outer, group, d, scratch);
                Tensor inverse = scratch.matrix(DType.F64, d, d);
                if (!liftedInverse(own, inverse)) {
                    return false;
                }
                left.add(inverse);
                outerMean += algebra.meanDiagonal(own) / shared.groups();
            }
            double lambda = ridge * outerMean * innerMean;
            Tensor wanted = scratch.matrix(DType.F64, shares.rows(), shares.columns());
            wanted(output, wanted);
            algebra.add(lambda, start, wanted);
            Tensor spread = scratch.matrix(DType.F64, moments.inner().rows(), outer.columns());
            Tensor half = scratch.matrix(DType.F64, d, shares.columns());
            new ConjugateGradients(algebra, (x, image) -> {
                image(x, outer, spread, image);
                algebra.add(lambda, x, image);
            }, (x, z) -> precondition(x, left, half, z)).solve(wanted, shares, steps);
            return true;
        }
    }

    /** The sum of O_h O_h^T [d, d] over a group's heads. */
    private Tensor ownOuter(Tensor outer, int group, long d, TensorArena arena) {
        Tensor own = arena.matrix(DType.F64, d, d);
        for (int head = firstHead(group); head < firstHead(group + 1); head++) {
            algebra.device().float64().combine(1, shared.columns(shared.rows(outer, head), head), beta(head), own);
        }
        return own;
    }

    private void precondition(Tensor x, List<Tensor> left, Tensor half, Tensor into) {
        Float64Ops ops = algebra.device().float64();
        for (int group = 0; group < shared.groups(); group++) {
            ops.multiply(1, left.get(group), false, shared.ofGroup(x, group), false, 0, half);
            ops.multiply(1, half, false, innerInverse.get(group), false, 0, shared.ofGroup(into, group));
        }
    }

    /** sum_h O_h E[u_h^T y]^T. */
    private void wanted(Tensor output, Tensor into) {
        for (int head = 0; head < shared.heads(); head++) {
            algebra.device().float64().multiply(1, shared.rows(output, head), false, shared.rows(moments.cross(), head),
                    true,
                    beta(head), shared.ofHead(into, head));
        }
    }

    /** The first head of a group writes, the others add to it. */
    private double beta(int head) {
        return head % shared.sharing() == 0 ? 0 : 1;
    }

    /** @param spread [H m, H d]: rows k are T_k^T (O_k O_h^T) for every h beside each other */
    private void image(Tensor x, Tensor outer, Tensor spread, Tensor into) {
        Float64Ops ops = algebra.device().float64();
        for (int head = 0; head < shared.heads(); head++) {
            ops.multiply(1, shared.ofHead(x, head), true, shared.rows(outer, head), false, 0,
                    shared.rows(spread, head));
        }
        for (int head = 0; head < shared.heads(); head++) {
            ops.multiply(1, shared.columns(spread, head), true, shared.columns(moments.inner(), head), false,
                    beta(head), shared.ofHead(into, head));
        }
    }

    /** The factor that gives a group's shared values the energy of a member's. */
    double energyRatio(Tensor shares, int group) {
        try (TensorArena scratch = algebra.device().arena()) {
            Tensor share = shared.ofGroup(shares, group);
            double member = algebra.meanDiagonal(inner.get(group)) * share.rows();
            double own = algebra.dot(share, algebra.product(share, false, inner.get(group), false, scratch));
            return member > 0 && own > 0 ? Math.sqrt(member / own) : 1;
        }
    }
}
