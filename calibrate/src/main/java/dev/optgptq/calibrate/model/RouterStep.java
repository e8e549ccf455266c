package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.FeedForward.Router;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Routing;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Sends tokens to experts: logits, a choice, and the tokens sorted by expert. Always in float32, since rounding could
 * change a choice.
 */
record RouterStep(Device device) {

    static void forwardNeeds(Router form, Widths widths) {
        widths.need(Scratch.ROUTER_LOGITS, form.experts());
        widths.need(Scratch.ROUTER_CHOICE, form.active());
        widths.need(Scratch.ROUTER_WEIGHTS, form.active());
        widths.need(Scratch.ROUTER_TOKENS, form.active());
        widths.need(Scratch.ROUTER_SLOTS, form.active());
        widths.need(Scratch.EXPERT_WEIGHTS, 1);
    }

    static void gradientNeeds(Router form, Widths widths) {
        widths.need(Scratch.D_ROUTER_LOGITS, form.experts());
        widths.need(Scratch.D_ROUTER_WEIGHTS, form.active());
        widths.need(Scratch.D_EXPERT_WEIGHTS, 1);
    }

    /**
     * The tokens of one expert.
     *
     * @param rows I32 [1, count]: which they are, rising
     * @param slots I32 [1, count]: index of each one's weight among those of all tokens, row by row
     */
    record Tokens(Tensor rows, Tensor slots) {
        long count() {
            return rows.columns();
        }
    }

    /**
     * The routing of a batch.
     *
     * @param logits F32 [N, experts]
     * @param choice I32 [N, active]
     * @param weights F32 [N, active]
     * @param tokens I32 [1, N active], as are slots: those of one expert after the other
     * @param offsets where each expert's begin
     */
    record Routed(Router form, Tensor logits, Tensor choice, Tensor weights, Tensor tokens, Tensor slots,
            int[] offsets) {

        Tokens of(int expert) {
            int from = offsets[expert];
            int count = offsets[expert + 1] - from;
            return new Tokens(tokens.columns(from, count), slots.columns(from, count));
        }
    }

    /** @param x F32 [N, hidden] */
    Routed route(Frame f, Router form, Tensor x) {
        long n = x.rows();
        Tensor logits = dense(f.scratch(Scratch.ROUTER_LOGITS, form.experts()), DType.F32, n, form.experts());
        device.matrix().linear(x, weight(f), f.weights().parameter(Parameter.ROUTER_BIAS), 0, logits);
        Tensor choice = dense(f.scratch(Scratch.ROUTER_CHOICE, form.active()), DType.I32, n, form.active());
        Tensor weights = dense(f.scratch(Scratch.ROUTER_WEIGHTS, form.active()), DType.F32, n, form.active());
        device.mixture().route(logits, f.weights().parameter(Parameter.ROUTER_CORRECTION), routing(form), choice,
                weights);
        Tensor tokens = dense(f.scratch(Scratch.ROUTER_TOKENS, form.active()), DType.I32, 1, n * form.active());
        Tensor slots = dense(f.scratch(Scratch.ROUTER_SLOTS, form.active()), DType.I32, 1, n * form.active());
        return new Routed(form, logits, choice, weights, tokens, slots, sorted(choice, tokens, slots, form.experts()));
    }

    private int[] sorted(Tensor choice, Tensor tokens, Tensor slots, int experts) {
        try (TensorArena arena = device.arena()) {
            Tensor offsets = arena.vector(DType.I32, experts + 1L);
            device.mixture().sortByExpert(choice, tokens, slots, offsets);
            return HostVectors.ints(device, offsets);
        }
    }

    private static Tensor weight(Frame f) {
        return Objects.requireNonNull(f.weights().parameter(Parameter.ROUTER), "a mixture without a router");
    }

    private static Routing routing(Router form) {
        Routing.Scoring scoring = switch (form.scoring()) {
            case SOFTMAX -> Routing.Scoring.SOFTMAX;
            case SIGMOID -> Routing.Scoring.SIGMOID;
        };
        Routing.GroupScore groupScore = switch (form.groupScore()) {
            case MAX -> Routing.GroupScore.MAX;
            case SUM_OF_TWO -> Routing.GroupScore.SUM_OF_TWO;
        };
        return new Routing(scoring, form.experts(), form.active(), form.renormalise(), form.scale(), form.groups(),
                form.activeGroups(), groupScore);
    }

    /** F32 [1, tokens]: the weights that they give to their expert. */
    Tensor weightsOf(Frame f, Routed routed, Tokens tokens) {
        Tensor found = dense(f.scratch(Scratch.EXPERT_WEIGHTS, 1), DType.F32, tokens.count(), 1);
        device.matrix().gatherRows(column(routed.weights()), tokens.slots(), found);
        return dense(found, DType.F32, 1, tokens.count());
    }

    /** F32 [1, tokens]: gradients for the weights of one expert's tokens. */
    static Tensor dWeightsOf(Buffers gradients, Tokens tokens) {
        return dense(gradients.of(Scratch.D_EXPERT_WEIGHTS, 1), DType.F32, 1, tokens.count());
    }

    /** F32 [N, active]: all of them, row by row. */
    static Tensor dWeights(Buffers gradients, Routed routed) {
        int active = routed.form().active();
        return dense(gradients.of(Scratch.D_ROUTER_WEIGHTS, active), DType.F32, routed.choice().rows(), active);
    }

    /** Scatters them there, into zeros. */
    void collect(Buffers gradients, Routed routed, Tokens tokens, Tensor dWeightsOf) {
        Tensor all = column(dWeights(gradients, routed));
        device.mixture().scatterAddRows(dense(dWeightsOf, DType.F32, tokens.count(), 1), tokens.slots(), null, all);
    }

    /** dx += the gradient through the weights, which collect() has put together; and those of the router itself. */
    void backward(Frame f, Buffers gradients, Routed routed, Tensor x, Tensor dx, @Nullable BlockWeights into) {
        Router form = routed.form();
        Tensor dLogits = dense(gradients.of(Scratch.D_ROUTER_LOGITS, form.experts()), DType.F32, x.rows(),
                form.experts());
        device.mixture().routeGradient(routed.logits(), routing(form), routed.choice(), dWeights(gradients, routed),
                dLogits);
        device.matrix().gemm(1, dLogits, false, weight(f), false, 1, dx);
        Tensor sums = into == null ? null : into.parameter(Parameter.ROUTER);
        if (sums != null) {
            device.matrix().gemm(1, dLogits, true, x, false, 1, sums);
        }
        Tensor biasSums = into == null ? null : into.parameter(Parameter.ROUTER_BIAS);
        if (biasSums != null) {
            device.gradient().addRowsInto(dLogits, biasSums);
        }
    }

    /** The same memory as a dense matrix of another shape, of elements of four bytes. */
    private static Tensor dense(Tensor memory, DType dtype, long rows, long columns) {
        return Tensor.dense(dtype, rows, columns, memory.memory());
    }

    private static Tensor column(Tensor matrix) {
        return dense(matrix, matrix.dtype(), matrix.elements(), 1);
    }
}
