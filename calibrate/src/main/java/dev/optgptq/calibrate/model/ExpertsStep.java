package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.FeedForward.Dense;
import dev.optgptq.calibrate.family.FeedForward.Experts;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.RouterStep.Routed;
import dev.optgptq.calibrate.model.RouterStep.Tokens;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A mixture of experts (Shazeer et al. 2017, arXiv 1701.06538): the shared expert for all tokens, then one expert after the
 * other for the tokens that the router sends to it. Sums have that order, and the activations of one expert exist at a
 * time. The backward pass recomputes all of it from the input, so a trace keeps nothing of experts.
 */
record ExpertsStep(Device device, DenseStep dense, RouterStep router) {

    static ExpertsStep on(Device device, DenseStep dense) {
        return new ExpertsStep(device, dense, new RouterStep(device));
    }

    static void forwardNeeds(BlockSpec block, Experts form, int hidden, Widths widths) {
        RouterStep.forwardNeeds(form.router(), widths);
        widths.need(Scratch.EXPERT_INPUT, hidden);
        widths.need(Scratch.EXPERT_OUTPUT, hidden);
        DenseStep.forwardNeeds(form.each(), DenseStep.Linears.ofExpert(block, 0), widths);
        if (form.shared() != null) {
            DenseStep.forwardNeeds(form.shared(), DenseStep.Linears.of(block), widths);
            widths.need(Scratch.SHARED_GATE, 1);
        }
    }

    static void traceNeeds(Experts form, Widths widths) {
        DenseStep.traceNeeds(form.each(), widths);
        if (form.shared() != null) {
            DenseStep.traceNeeds(form.shared(), widths);
        }
    }

    static void gradientNeeds(Experts form, int hidden, Widths widths) {
        RouterStep.gradientNeeds(form.router(), widths);
        widths.need(Scratch.D_EXPERT_INPUT, hidden);
        widths.need(Scratch.D_EXPERT_OUTPUT, hidden);
        DenseStep.gradientNeeds(form.each(), widths);
        if (form.shared() != null) {
            DenseStep.gradientNeeds(form.shared(), widths);
        }
    }

    /**
     * @param x F32 [N, hidden]
     * @return false when the tap stopped it
     */
    boolean forward(Frame f, Experts form, Tensor x, Outlet out) {
        if (form.shared() != null && f.tap().runs(LinearSpec.NO_EXPERT)) {
            if (!shared(f, form, form.shared(), x, out)) {
                return false;
            }
        } else if (out.beta() == 0) {
            device.matrix().fill(out.target(), 0);
        }
        Routed routed = router.route(f, form.router(), x);
        for (int expert = 0; expert < form.router().experts(); expert++) {
            Tokens tokens = routed.of(expert);
            if (tokens.count() > 0 && f.tap().runs(expert)
                    && !expert(f.ofSome(tokens.rows()), form.each(), expert, routed, x, out.target())) {
                return false;
            }
        }
        return true;
    }

    private boolean shared(Frame f, Experts form, Dense shared, Tensor x, Outlet out) {
        Tensor factor = f.factor(device.neural(), x);
        if (!f.tap().at(InputSite.MLP_INPUT, factor)) {
            return false;
        }
        DenseStep.Linears its = DenseStep.Linears.of(f.spec());
        if (!form.sharedGated()) {
            return dense.forward(f, shared, its, factor, out);
        }
        Tensor found = f.scratch(Scratch.EXPERT_OUTPUT, (int) x.columns());
        if (!dense.forward(f, shared, its, factor, new Outlet(found, 0))) {
            return false;
        }
        device.neural().gateSigmoid(found, sharedGate(f, x));
        if (out.beta() == 0) {
            device.matrix().copy(found, out.target());
        } else {
            device.neural().add(out.target(), found);
        }
        return true;
    }

    /** F32 [N, 1]: before the sigmoid. */
    private Tensor sharedGate(Frame f, Tensor x) {
        Tensor gate = f.scratch(Scratch.SHARED_GATE, 1);
        device.matrix().linear(x, gateWeight(f), null, 0, gate);
        return gate;
    }

    private boolean expert(Frame f, Dense form, int expert, Routed routed, Tensor x, Tensor target) {
        Tokens tokens = routed.of(expert);
        Tensor factor = f.factor(device.neural(), gathered(f, tokens, x));
        DenseStep.Linears its = DenseStep.Linears.ofExpert(f.spec(), expert);
        if (!f.tap().at(its.inputSite(), factor)) {
            return false;
        }
        Tensor found = f.scratch(Scratch.EXPERT_OUTPUT, (int) x.columns()).rows(0, tokens.count());
        if (!dense.forward(f, form, its, factor, new Outlet(found, 0))) {
            return false;
        }
        device.mixture().scatterAddRows(found, tokens.rows(), router.weightsOf(f, routed, tokens), target);
        return true;
    }

    /** F32 [tokens, hidden]: the inputs of the expert's tokens. */
    private Tensor gathered(Frame f, Tokens tokens, Tensor x) {
        Tensor gathered = f.scratch(Scratch.EXPERT_INPUT, (int) x.columns()).rows(0, tokens.count());
        device.matrix().gatherRows(x, tokens.rows(), gathered);
        return gathered;
    }

    /**
     * The mirror of forward: dx = beta dx + the gradient for x, of dOut, the gradient for the output.
     *
     * @param into the parameters' gradients; null if they are not wanted
     */
    void backward(Frame f, Buffers gradients, LinearGradients linearGradients, Experts form, Tensor x, Tensor dOut,
            float beta, Tensor dx, @Nullable BlockWeights into) {
        if (form.shared() != null) {
            sharedBackward(f, gradients, linearGradients, form, form.shared(), x, dOut, beta, dx, into);
        } else if (beta == 0) {
            device.matrix().fill(dx, 0);
        }
        Routed routed = router.route(f, form.router(), x);
        device.matrix().fill(RouterStep.dWeights(gradients, routed), 0);
        for (int expert = 0; expert < form.router().experts(); expert++) {
            Tokens tokens = routed.of(expert);
            if (tokens.count() > 0) {
                expertBackward(f, gradients, linearGradients.ofSome(tokens.rows()), form.each(), expert, routed, x,
                        dOut, dx);
            }
        }
        router.backward(f, gradients, routed, x, dx, into);
    }

    private void expertBackward(Frame f, Buffers gradients, LinearGradients linearGradients, Dense form, int expert,
            Routed routed, Tensor x, Tensor dOut, Tensor dx) {
        Tokens tokens = routed.of(expert);
        int hidden = (int) x.columns();
        DenseStep.Linears its = DenseStep.Linears.ofExpert(f.spec(), expert);
        Tensor input = gathered(f, tokens, x);
        Tensor found = f.scratch(Scratch.EXPERT_OUTPUT, hidden).rows(0, tokens.count());
        dense.forward(f, form, its, input, new Outlet(found, 0));
        Tensor dFound = gradients.of(Scratch.D_EXPERT_OUTPUT, hidden).rows(0, tokens.count());
        Tensor dWeights = RouterStep.dWeightsOf(gradients, tokens);
        device.mixture().scatterAddRowsGradient(found, tokens.rows(), router.weightsOf(f, routed, tokens), dOut, dFound,
                dWeights);
        router.collect(gradients, routed, tokens, dWeights);
        Tensor dInput = gradients.of(Scratch.D_EXPERT_INPUT, hidden).rows(0, tokens.count());
        dense.backward(f, gradients, linearGradients, form, its, input, dFound, 0, dInput);
        device.mixture().scatterAddRows(dInput, tokens.rows(), null, dx);
    }

    private void sharedBackward(Frame f, Buffers gradients, LinearGradients linearGradients, Experts form, Dense shared,
            Tensor x, Tensor dOut, float beta, Tensor dx, @Nullable BlockWeights into) {
        int hidden = (int) x.columns();
        DenseStep.Linears its = DenseStep.Linears.of(f.spec());
        if (!form.sharedGated()) {
            dense.trace(f, shared, its, x);
            dense.backward(f, gradients, linearGradients, shared, its, x, dOut, beta, dx);
            return;
        }
        Tensor found = f.scratch(Scratch.EXPERT_OUTPUT, hidden);
        dense.forward(f, shared, its, x, new Outlet(found, 0));
        Tensor gate = sharedGate(f, x);
        Tensor dFound = gradients.of(Scratch.D_EXPERT_OUTPUT, hidden);
        device.matrix().copy(dOut, dFound);
        device.gradient().gateSigmoidGradient(found, gate, dFound);
        dense.backward(f, gradients, linearGradients, shared, its, x, dFound, beta, dx);
        device.matrix().gemm(1, gate, false, gateWeight(f), false, 1, dx);
        Tensor sums = into == null ? null : into.parameter(Parameter.SHARED_GATE);
        if (sums != null) {
            device.matrix().gemm(1, gate, true, x, false, 1, sums);
        }
    }

    private static Tensor gateWeight(Frame f) {
        return Objects.requireNonNull(f.weights().parameter(Parameter.SHARED_GATE), "a shared expert without its gate");
    }
}
