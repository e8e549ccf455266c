package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedMixtureOps implements MixtureOps {

    private final MixtureOps ops;

    public CheckedMixtureOps(MixtureOps ops) {
        this.ops = ops;
    }

    @Override
    public void route(Tensor logits, @Nullable Tensor bias, Routing routing, Tensor experts, Tensor weights) {
        Arguments.f32("route", "logits", logits, logits.rows(), routing.experts());
        if (bias != null) {
            Arguments.f32("route", "bias", bias, 1, routing.experts());
        }
        Arguments.shaped("route", "experts", experts, DType.I32, logits.rows(), routing.active());
        Arguments.f32("route", "weights", weights, logits.rows(), routing.active());
        ops.route(logits, bias, routing, experts, weights);
    }

    @Override
    public void routeGradient(Tensor logits, Routing routing, Tensor experts, Tensor dWeights, Tensor dLogits) {
        Arguments.f32("routeGradient", "logits", logits, logits.rows(), routing.experts());
        Arguments.shaped("routeGradient", "experts", experts, DType.I32, logits.rows(), routing.active());
        Arguments.f32("routeGradient", "dWeights", dWeights, logits.rows(), routing.active());
        Arguments.f32("routeGradient", "dLogits", dLogits, logits.rows(), routing.experts());
        ops.routeGradient(logits, routing, experts, dWeights, dLogits);
    }

    @Override
    public void sortByExpert(Tensor experts, Tensor tokens, Tensor slots, Tensor offsets) {
        Arguments.shaped("sortByExpert", "experts", experts, DType.I32, experts.rows(), experts.columns());
        Arguments.shaped("sortByExpert", "tokens", tokens, DType.I32, 1, experts.elements());
        Arguments.shaped("sortByExpert", "slots", slots, DType.I32, 1, experts.elements());
        Arguments.shaped("sortByExpert", "offsets", offsets, DType.I32, 1, Math.max(2, offsets.columns()));
        ops.sortByExpert(experts, tokens, slots, offsets);
    }

    @Override
    public void scatterAddRows(Tensor source, Tensor order, @Nullable Tensor factors, Tensor target) {
        Arguments.f32("scatterAddRows", "source", source, source.rows(), target.columns());
        Arguments.shaped("scatterAddRows", "order", order, DType.I32, 1, source.rows());
        if (factors != null) {
            Arguments.f32("scatterAddRows", "factors", factors, 1, source.rows());
        }
        Arguments.f32("scatterAddRows", "target", target, target.rows(), target.columns());
        ops.scatterAddRows(source, order, factors, target);
    }

    @Override
    public void scatterAddRowsGradient(Tensor source, Tensor order, @Nullable Tensor factors, Tensor dTarget,
            Tensor dSource, @Nullable Tensor dFactors) {
        Arguments.f32("scatterAddRowsGradient", "source", source, source.rows(), dTarget.columns());
        Arguments.shaped("scatterAddRowsGradient", "order", order, DType.I32, 1, source.rows());
        if (factors != null) {
            Arguments.f32("scatterAddRowsGradient", "factors", factors, 1, source.rows());
        }
        Arguments.f32("scatterAddRowsGradient", "dTarget", dTarget, dTarget.rows(), dTarget.columns());
        Arguments.f32("scatterAddRowsGradient", "dSource", dSource, source.rows(), source.columns());
        if (dFactors != null) {
            Arguments.f32("scatterAddRowsGradient", "dFactors", dFactors, 1, source.rows());
        }
        ops.scatterAddRowsGradient(source, order, factors, dTarget, dSource, dFactors);
    }
}
