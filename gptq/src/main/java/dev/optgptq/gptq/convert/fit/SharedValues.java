package dev.optgptq.gptq.convert.fit;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Float64Ops;

/**
 * How the parts of a layer's shared values lie in matrices: T_g [d, m], group under group; of moments of u, heads side by side, m
 * elements each.
 *
 * @param heads H query heads, in groups of neighbours
 * @param groups G
 */
record SharedValues(DeviceAlgebra algebra, int heads, int groups) {

    int group(int head) {
        return head / sharing();
    }

    int sharing() {
        return heads / groups;
    }

    Tensor ofGroup(Tensor stacked, int group) {
        long d = stacked.rows() / groups;
        return stacked.rows(group * d, d);
    }

    Tensor ofHead(Tensor shares, int head) {
        return ofGroup(shares, group(head));
    }

    /** A head's rows, or columns, of a matrix with equally many for each. */
    Tensor rows(Tensor all, int head) {
        long each = all.rows() / heads;
        return all.rows(head * each, each);
    }

    Tensor columns(Tensor all, int head) {
        long each = all.columns() / heads;
        return all.columns(head * each, each);
    }

    /** The moments of the shared values, u_h T_g^T for every head [1, H d], from those of u. */
    LinearMoments moments(LinearMoments of, Tensor shares, TensorArena arena) {
        Float64Ops ops = algebra.device().float64();
        long d = shares.rows() / groups;
        Tensor inner = arena.matrix(DType.F64, heads * d, heads * d);
        Tensor cross = arena.matrix(DType.F64, heads * d, of.cross().columns());
        Tensor input = arena.matrix(DType.F64, 1, heads * d);
        try (TensorArena scratch = algebra.device().arena()) {
            Tensor half = scratch.matrix(DType.F64, heads * d, of.inner().columns());
            for (int head = 0; head < heads; head++) {
                Tensor share = ofHead(shares, head);
                ops.multiply(1, share, false, rows(of.inner(), head), false, 0, rows(half, head));
                ops.multiply(1, share, false, rows(of.cross(), head), false, 0, rows(cross, head));
                ops.multiply(1, columns(of.input(), head), false, share, true, 0, columns(input, head));
            }
            for (int head = 0; head < heads; head++) {
                ops.multiply(1, columns(half, head), false, ofHead(shares, head), true, 0, columns(inner, head));
            }
        }
        return new LinearMoments(inner, cross, input, of.target(), of.targetEnergy(), of.tokens());
    }
}
