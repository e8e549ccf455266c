package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.HeadSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The final norm and the output matrix on the device, F32; the arena given at loading owns them. As gradients it holds
 * the requested kinds.
 *
 * @param norm null if there is none, or these gradients have no norms
 * @param matrix [vocabulary, width] and its bias; null if these gradients have no linears
 * @param projection [width, hidden], before the matrix; null where there is none
 */
public record Head(HeadSpec spec, Set<ParameterKind> kinds, @Nullable NormWeights norm, @Nullable LinearWeights matrix,
        @Nullable LinearWeights projection) {

    /** Loads it, decoded. A tied head is the embedding table. */
    public static Head load(ModelSpec model, WeightLoader loader, TensorArena arena) {
        HeadSpec spec = model.head();
        return new Head(spec, Set.of(ParameterKind.values()),
                spec.norm() == null ? null : loader.norm(spec.norm(), arena),
                loader.plain(matrixName(model), spec.bias() ? spec.module() + ".bias" : null, model.vocabSize(),
                        spec.width(), arena),
                spec.projection() == null
                        ? null
                        : loader.plain(spec.projection(), null, spec.width(), model.hiddenSize(), arena));
    }

    /** The module whose weight is the matrix. */
    public static String matrixName(ModelSpec model) {
        return model.head().tied() ? model.embedding().table() : model.head().module();
    }

    /** Device memory after load(). */
    public static long bytes(ModelSpec model) {
        HeadSpec spec = model.head();
        long bias = spec.bias() ? model.vocabSize() : 0;
        long projection = spec.projection() == null ? 0 : (long) spec.width() * model.hiddenSize();
        return (spec.norm() == null ? 0 : NormWeights.bytes(spec.norm()))
                + Float.BYTES * ((long) model.vocabSize() * spec.width() + bias + projection);
    }

    public boolean has(ParameterKind kind) {
        return kinds.contains(kind);
    }

    /** F32 [vocabulary, width]. */
    public Tensor weight() {
        return Objects.requireNonNull(matrix, "these gradients have none of the matrix").weight();
    }

    /** The same matrix with a copy of the norm, which can be overwritten. */
    public Head withOwnNorm(Device device, TensorArena arena) {
        return new Head(spec, kinds, norm == null ? null : norm.copy(device, arena), matrix, projection);
    }

    /** The same shapes of these kinds, all zero, to sum gradients. */
    public Head zeros(Device device, TensorArena arena, Set<ParameterKind> wanted) {
        boolean linears = wanted.contains(ParameterKind.LINEAR);
        return new Head(spec, wanted,
                norm != null && wanted.contains(ParameterKind.NORM) ? norm.zeros(device, arena) : null,
                matrix != null && linears ? matrix.zeros(device, arena) : null,
                projection != null && linears ? projection.zeros(device, arena) : null);
    }
}
