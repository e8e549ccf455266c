package dev.optgptq.calibrate.weights;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The final norm and the output matrix on the device, F32; the arena given at loading owns them. Of gradients it holds the kinds
 * that were asked for.
 */
public final class Head {

    private final @Nullable NormWeights norm;
    private final @Nullable Tensor weight;

    private Head(@Nullable NormWeights norm, @Nullable Tensor weight) {
        this.norm = norm;
        this.weight = weight;
    }

    public static Head of(NormWeights norm, Tensor weight) {
        return new Head(norm, weight);
    }

    public boolean has(ParameterKind kind) {
        return switch (kind) {
            case LINEAR -> weight != null;
            case NORM -> norm != null;
        };
    }

    public NormWeights norm() {
        return Objects.requireNonNull(norm, "these gradients have none of the norm");
    }

    /** F32 [vocabulary, hidden]. */
    public Tensor weight() {
        return Objects.requireNonNull(weight, "these gradients have none of the matrix");
    }

    /** The same matrix behind a copy of the norm, which can be overwritten. */
    public Head withOwnNorm(Device device, TensorArena arena) {
        return new Head(norm().copy(device, arena), weight);
    }

    /** The same shapes, all zero, of these kinds: where gradients are summed. */
    public Head zeros(Device device, TensorArena arena, Set<ParameterKind> kinds) {
        return new Head(kinds.contains(ParameterKind.NORM) ? norm().zeros(device, arena) : null,
                kinds.contains(ParameterKind.LINEAR) ? Zeros.like(weight(), device, arena) : null);
    }
}
