package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.Routing;
import org.jspecify.annotations.Nullable;

/**
 * MixtureOps on a GPU, the same bits every time. Indices are read on the device, where nothing can be thrown: a slot of an
 * expert outside its range is in no expert's, a row outside is added to nothing and has the gradient NaN.
 */
public final class GpuMixtureOps implements MixtureOps {

    private static final int THREADS = Extent.THREADS;

    private final GpuContext context;

    public GpuMixtureOps(GpuContext context) {
        this.context = context;
    }

    private Kernel kernel(String function) {
        return context.kernel("mixture", function);
    }

    @Override
    public void route(Tensor logits, @Nullable Tensor bias, Routing routing, Tensor experts, Tensor weights) {
        kernel("route").launch(logits.rows(), THREADS, 0, logits, logits.stride(), bias, scoring(routing),
                routing.experts(), routing.active(), routing.renormalise() ? 1 : 0, routing.scale(), routing.groups(),
                routing.activeGroups(), groupScore(routing), experts, experts.stride(), weights, weights.stride());
    }

    @Override
    public void routeGradient(Tensor logits, Routing routing, Tensor experts, Tensor dWeights, Tensor dLogits) {
        kernel("route_gradient").launch(logits.rows(), THREADS, 0, logits, logits.stride(), scoring(routing),
                routing.experts(), routing.active(), routing.renormalise() ? 1 : 0, routing.scale(), routing.groups(),
                routing.activeGroups(), groupScore(routing), experts, experts.stride(), dWeights, dWeights.stride(),
                dLogits, dLogits.stride());
    }

    /** Numbered as in mixture.hip; so is groupScore. */
    private static int scoring(Routing routing) {
        return switch (routing.scoring()) {
            case SOFTMAX -> 0;
            case SIGMOID -> 1;
        };
    }

    private static int groupScore(Routing routing) {
        return switch (routing.groupScore()) {
            case MAX -> 0;
            case SUM_OF_TWO -> 1;
        };
    }

    @Override
    public void sortByExpert(Tensor experts, Tensor tokens, Tensor slots, Tensor offsets) {
        int count = Math.toIntExact(offsets.columns() - 1);
        int active = Math.toIntExact(experts.columns());
        try (TensorArena arena = context.arena()) {
            Tensor counts = arena.vector(DType.I32, count);
            kernel("count_slots").launch(count, THREADS, 0, experts, experts.stride(), experts.rows(), active, counts);
            kernel("sum_counts").launch(1, 1, 0, counts, count, offsets);
            kernel("place_slots").launch(count, THREADS, 0, experts, experts.stride(), experts.rows(), active, offsets,
                    tokens, slots);
        }
    }

    @Override
    public void scatterAddRows(Tensor source, Tensor order, @Nullable Tensor factors, Tensor target) {
        Extent extent = Extent.byRows(source);
        kernel("scatter_add_rows").launch(extent.blocks(), THREADS, 0, source, source.stride(), order, factors, target,
                target.stride(), target.rows(), extent.columns());
    }

    @Override
    public void scatterAddRowsGradient(Tensor source, Tensor order, @Nullable Tensor factors, Tensor dTarget,
            Tensor dSource, @Nullable Tensor dFactors) {
        kernel("scatter_add_rows_gradient").launch(source.rows(), THREADS, 0, source, source.stride(), order, factors,
                dTarget, dTarget.stride(), dTarget.rows(), dSource, dSource.stride(), dFactors, source.columns());
    }
}
