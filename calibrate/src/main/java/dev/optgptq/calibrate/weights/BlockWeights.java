package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one decoder block on the device: norms and biases F32, linears in the dtype of the products. They can be
 * overwritten; the arena given at loading owns them. Of gradients it holds the kinds that were asked for.
 */
public final class BlockWeights {

    private final int index;
    private final @Nullable NormWeights attentionNorm;
    private final @Nullable NormWeights mlpNorm;
    private final List<LinearSpec> linears;
    private final Map<Projection, LinearWeights> weights;

    public BlockWeights(int index, @Nullable NormWeights attentionNorm, @Nullable NormWeights mlpNorm,
            List<LinearSpec> linears,
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

    public boolean has(ParameterKind kind) {
        return switch (kind) {
            case LINEAR -> !weights.isEmpty();
            case NORM -> attentionNorm != null;
        };
    }

    public NormWeights attentionNorm() {
        return Objects.requireNonNull(attentionNorm, "these gradients have none of norms");
    }

    public NormWeights mlpNorm() {
        return Objects.requireNonNull(mlpNorm, "these gradients have none of norms");
    }

    public LinearWeights of(Projection projection) {
        LinearWeights found = weights.get(projection);
        if (found == null) {
            throw new IllegalArgumentException("block " + index + " has no " + projection);
        }
        return found;
    }

    public LinearSpec linear(Projection projection) {
        return linears.stream().filter(linear -> linear.projection() == projection).findFirst().orElseThrow(
                () -> new IllegalArgumentException("block " + index + " has no " + projection));
    }

    /** The same shapes, all zero, of these kinds: where gradients are summed. */
    public BlockWeights zeros(Device device, TensorArena arena, Set<ParameterKind> kinds) {
        Map<Projection, LinearWeights> sums = new EnumMap<>(Projection.class);
        if (kinds.contains(ParameterKind.LINEAR)) {
            weights.forEach((projection, linear) -> sums.put(projection, linear.zeros(device, arena)));
        }
        boolean norms = kinds.contains(ParameterKind.NORM);
        return new BlockWeights(index, norms ? attentionNorm().zeros(device, arena) : null,
                norms ? mlpNorm().zeros(device, arena) : null, linears, sums);
    }
}
