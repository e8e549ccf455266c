package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * The weights of one decoder block on the device: norms and biases F32, linears in the dtype of the products. The linears
 * can be overwritten; the arena given at loading owns them.
 */
public final class BlockWeights {

    private final int index;
    private final NormWeights attentionNorm;
    private final NormWeights mlpNorm;
    private final List<LinearSpec> linears;
    private final Map<Projection, LinearWeights> weights;

    BlockWeights(int index, NormWeights attentionNorm, NormWeights mlpNorm, List<LinearSpec> linears,
            Map<Projection, LinearWeights> weights) {
        this.index = index;
        this.attentionNorm = attentionNorm;
        this.mlpNorm = mlpNorm;
        this.linears = linears;
        this.weights = new EnumMap<>(weights);
    }

    public int index() {
        return index;
    }

    /** The linears in forward order. */
    public List<LinearSpec> linears() {
        return linears;
    }

    /** [outputs, inputs] in the dtype of the products; writing to it changes what the block computes. */
    public Tensor weight(LinearSpec linear) {
        return of(linear.projection()).weight();
    }

    NormWeights attentionNorm() {
        return attentionNorm;
    }

    NormWeights mlpNorm() {
        return mlpNorm;
    }

    LinearWeights of(Projection projection) {
        LinearWeights found = weights.get(projection);
        if (found == null) {
            throw new IllegalArgumentException("block " + index + " has no " + projection);
        }
        return found;
    }

    LinearSpec linear(Projection projection) {
        return linears.stream().filter(linear -> linear.projection() == projection).findFirst().orElseThrow(
                () -> new IllegalArgumentException("block " + index + " has no " + projection));
    }

    /** The same shapes, all zero: where gradients are summed. */
    BlockWeights zeros(Device device, TensorArena arena) {
        Map<Projection, LinearWeights> sums = new EnumMap<>(Projection.class);
        weights.forEach((projection, linear) -> sums.put(projection, linear.zeros(device, arena)));
        return new BlockWeights(index, attentionNorm.zeros(device, arena), mlpNorm.zeros(device, arena), linears, sums);
    }
}
