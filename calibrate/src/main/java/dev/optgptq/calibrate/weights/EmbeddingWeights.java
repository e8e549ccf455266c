package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The embedding's weights on the device.
 *
 * @param table [vocabulary, width] in the dtype it is stored in
 * @param projection [hidden, width]; null where there is none
 * @param positions [rows, hidden] in the dtype it is stored in; null where there are none
 * @param norm null where there is none
 */
public record EmbeddingWeights(EmbeddingSpec spec, Tensor table, @Nullable LinearWeights projection,
        @Nullable Tensor positions, @Nullable NormWeights norm) {

    public static EmbeddingWeights load(ModelSpec model, WeightLoader loader, TensorArena arena) {
        EmbeddingSpec spec = model.embedding();
        EmbeddingSpec.Positions learned = spec.positions();
        return new EmbeddingWeights(spec,
                loader.asStored(spec.table() + ".weight", model.vocabSize(), spec.width(), arena),
                spec.projection() == null
                        ? null
                        : loader.plain(spec.projection(), null, model.hiddenSize(), spec.width(), arena),
                learned == null
                        ? null
                        : loader.copied(learned.table() + ".weight", learned.rows(), model.hiddenSize(), arena),
                spec.norm() == null ? null : loader.norm(spec.norm(), arena));
    }

    /** Peak device memory of load(). */
    public static long bytes(ModelSpec model) {
        EmbeddingSpec spec = model.embedding();
        long projection = spec.projection() == null ? 0 : (long) spec.width() * model.hiddenSize();
        long positions = spec.positions() == null ? 0 : (long) spec.positions().rows() * model.hiddenSize();
        return (spec.norm() == null ? 0 : NormWeights.bytes(spec.norm()))
                + Float.BYTES * ((long) model.vocabSize() * spec.width() + projection + positions);
    }

    /** The same shapes in F32, all zero, to sum gradients. */
    public EmbeddingWeights zeros(Device device, TensorArena arena) {
        return new EmbeddingWeights(spec, Zeros.like(table, device, arena),
                projection == null ? null : projection.zeros(device, arena),
                positions == null ? null : Zeros.like(positions, device, arena),
                norm == null ? null : norm.zeros(device, arena));
    }

    /** Whether the stream is just a row of the table. */
    public boolean isPlain() {
        return projection == null && positions == null && norm == null && spec.scale() == 1;
    }
}
