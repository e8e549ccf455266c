package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.HeadSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
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
 * @param matrix [vocabulary, width], its rows of length 1 where the head is normalised, and its bias; null if these gradients have no linears
 * @param projection [width, hidden], before the matrix; null where there is none
 */
public record Head(HeadSpec spec, Set<ParameterKind> kinds, @Nullable NormWeights norm, @Nullable LinearWeights matrix,
        @Nullable LinearWeights projection) {

    private static final float SHORTEST = 1e-12f;

    /** Loads it, decoded. A tied head is the embedding table. */
    public static Head load(ModelSpec model, WeightLoader loader, TensorArena arena) {
        HeadSpec spec = model.head();
        LinearWeights matrix = loader.head(matrixName(model), spec.bias() ? spec.module() + ".bias" : null,
                model.vocabSize(), spec.width(), spec.normalised(), arena);
        if (spec.normalised()) {
            normalise(loader.device(), matrix.weight());
        }
        return new Head(spec, Set.of(ParameterKind.values()),
                spec.norm() == null ? null : loader.norm(spec.norm(), arena), matrix,
                spec.projection() == null
                        ? null
                        : loader.plain(spec.projection(), null, spec.width(), model.hiddenSize(), arena));
    }

    /** Divides every row by its length, of at least 1e-12, as torch.nn.functional.normalize (Baichuan 2's NormHead). */
    private static void normalise(Device device, Tensor matrix) {
        int width = Math.toIntExact(matrix.columns());
        try (TensorArena scratch = device.arena()) {
            Tensor unit = scratch.vector(DType.F32, width);
            device.matrix().fill(unit, (float) (1 / Math.sqrt(width)));
            float eps = SHORTEST * SHORTEST / width;
            if (matrix.dtype() == DType.F32) {
                device.neural().rmsNorm(matrix, unit, eps, matrix);
            } else {
                Tensor wide = scratch.matrix(DType.F32, matrix.rows(), width);
                device.neural().convert(matrix, wide);
                device.neural().rmsNorm(wide, unit, eps, wide);
                device.neural().convert(wide, matrix);
            }
            device.synchronize();
        }
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
