package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.LinearMoments;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Accumulates the moments for the fit of a linear map: see LinearMoments. */
final class LinearSum {

    private final Device device;
    private final MomentSum inner;
    private final MomentSum cross;
    private final MomentSum input;
    private final MomentSum target;
    private final HostCopies copies;
    private double targetEnergy;
    private long tokens;

    /**
     * For u [1, m] and y [1, n].
     *
     * @param scratch owns what only summing needs
     * @param owner of the moments
     */
    LinearSum(Device device, TensorArena scratch, TensorArena owner, long m, long n) {
        this.device = device;
        this.copies = new HostCopies(device);
        this.inner = MomentSum.ofUpper(device, scratch, owner, m);
        this.cross = new MomentSum(device, scratch, owner, m, n);
        this.input = new MomentSum(device, scratch, owner, 1, m);
        this.target = new MomentSum(device, scratch, owner, 1, n);
    }

    /** Adds tokens: u F32 [N, m], y F32 [N, n]. */
    void add(Tensor u, Tensor y) {
        device.matrix().accumulateGram(1, u, inner.partial());
        device.matrix().gemm(1, u, true, y, false, 1, cross.partial());
        device.gradient().addRowsInto(u, input.partial());
        device.gradient().addRowsInto(y, target.partial());
        try (TensorArena scratch = device.arena()) {
            Tensor energy = scratch.vector(DType.F64, 1);
            device.matrix().dot(y, y, energy);
            targetEnergy += copies.number(energy);
        }
        tokens += u.rows();
        inner.added(u.rows());
        cross.added(u.rows());
        input.added(u.rows());
        target.added(u.rows());
    }

    /** The means, in the memory of the sums. */
    LinearMoments finish() {
        double n = Math.max(1, tokens);
        return new LinearMoments(inner.dividedBy(n), cross.dividedBy(n), input.dividedBy(n),
                target.dividedBy(n), targetEnergy / n, tokens);
    }
}
