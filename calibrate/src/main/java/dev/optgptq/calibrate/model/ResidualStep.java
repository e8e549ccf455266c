package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.BlockSpec.Residual;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How the output of attention or an MLP joins the residual stream: added directly, or after a norm, a factor, or both.
 */
record ResidualStep(Device device, NormStep norms) {

    /** Whether it is first written beside the stream. */
    private static boolean beside(BlockSpec block, NormSlot after) {
        return block.residual() != Residual.NORM_OF_SUM && (block.has(after) || block.residualScale() != 1);
    }

    static void forwardNeeds(BlockSpec block, int hidden, Widths widths) {
        if (beside(block, NormSlot.AFTER_ATTENTION) || beside(block, NormSlot.AFTER_MLP)
                || block.residual() == Residual.NORM_OF_SUM) {
            widths.need(Scratch.BRANCH, hidden);
        }
    }

    static void traceNeeds(BlockSpec block, int hidden, Widths widths) {
        if (block.has(NormSlot.AFTER_ATTENTION)) {
            widths.need(Scratch.ATTENTION_BRANCH, hidden);
        }
        if (block.has(NormSlot.AFTER_MLP)) {
            widths.need(Scratch.MLP_BRANCH, hidden);
        }
    }

    static void gradientNeeds(BlockSpec block, int hidden, Widths widths) {
        if (beside(block, NormSlot.AFTER_ATTENTION) || beside(block, NormSlot.AFTER_MLP)) {
            widths.need(Scratch.D_BRANCH, hidden);
            widths.need(Scratch.D_SCALED, hidden);
        }
        if (block.residual() == Residual.NORM_OF_SUM) {
            widths.need(Scratch.D_BRANCH, hidden);
        }
    }

    /** Where the part before this norm's slot writes its output, for the stream x F32 [N, hidden]. */
    Outlet open(Frame f, NormSlot after, Tensor x) {
        if (!beside(f.spec(), after)) {
            return new Outlet(x, 1);
        }
        return new Outlet(f.keeps() && f.spec().has(after) ? kept(f, after, x) : branch(f, x), 0);
    }

    private static Tensor branch(Frame f, Tensor x) {
        return f.scratch(Scratch.BRANCH, (int) x.columns());
    }

    private static Tensor kept(Frame f, NormSlot after, Tensor x) {
        return f.scratch(after == NormSlot.AFTER_ATTENTION ? Scratch.ATTENTION_BRANCH : Scratch.MLP_BRANCH,
                (int) x.columns());
    }

    /** Joins it to the stream x. */
    void close(Frame f, NormSlot after, Tensor x, Outlet found) {
        NormWeights norm = f.weights().norm(after);
        if (f.spec().residual() == Residual.NORM_OF_SUM) {
            normaliseSum(f, after, x, Objects.requireNonNull(norm));
            return;
        }
        if (found.beta() != 0) {
            return;
        }
        Tensor add = found.target();
        if (norm != null) {
            add = f.keeps() ? branch(f, x) : f.scratch(Scratch.NORMED, (int) x.columns());
            norms.forward(norm, found.target(), add);
        }
        if (f.spec().residualScale() != 1) {
            device.neural().scale(add, f.spec().residualScale());
        }
        device.neural().add(x, add);
    }

    private void normaliseSum(Frame f, NormSlot after, Tensor x, NormWeights norm) {
        Tensor sum = f.keeps() ? kept(f, after, x) : branch(f, x);
        device.matrix().copy(x, sum);
        norms.forward(norm, sum, x);
    }

    /**
     * The gradient for the output, where d is that for the stream after it; for NORM_OF_SUM d itself becomes that for
     * both parts of the sum.
     */
    Tensor backward(Frame f, Buffers gradients, NormSlot after, Tensor d, @Nullable BlockWeights into) {
        NormWeights norm = f.weights().norm(after);
        NormWeights sums = into == null ? null : into.norm(after);
        int hidden = (int) d.columns();
        if (f.spec().residual() == Residual.NORM_OF_SUM) {
            Tensor dSum = gradients.of(Scratch.D_BRANCH, hidden);
            device.matrix().fill(dSum, 0);
            norms.backward(Objects.requireNonNull(norm), kept(f, after, d), d, dSum, sums);
            device.matrix().copy(dSum, d);
            return d;
        }
        if (!beside(f.spec(), after)) {
            return d;
        }
        Tensor dScaled = gradients.of(Scratch.D_SCALED, hidden);
        device.matrix().copy(d, dScaled);
        if (f.spec().residualScale() != 1) {
            device.neural().scale(dScaled, f.spec().residualScale());
        }
        if (norm == null) {
            return dScaled;
        }
        Tensor dBranch = gradients.of(Scratch.D_BRANCH, hidden);
        device.matrix().fill(dBranch, 0);
        norms.backward(norm, kept(f, after, d), dScaled, dBranch, sums);
        return dBranch;
    }
}
