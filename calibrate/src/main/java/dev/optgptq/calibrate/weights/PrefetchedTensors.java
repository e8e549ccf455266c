package dev.optgptq.calibrate.weights;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A model's tensors that are on a device already, in their stored dtype: none, unless an {@link UploadPrefetch} is
 * open.
 */
public final class PrefetchedTensors {

    private @Nullable UploadPrefetch source;

    void begin(UploadPrefetch prefetch) {
        if (source != null) {
            throw new IllegalStateException("blocks of this model are prefetched already");
        }
        source = prefetch;
    }

    void end(UploadPrefetch prefetch) {
        if (source == prefetch) {
            source = null;
        }
    }

    /**
     * The bytes of a stored tensor as a matrix, valid until another block is wanted; null if it is not on the device.
     */
    @Nullable
    Tensor find(String name, DType dtype, long rows, long columns) {
        Tensor stored = source == null ? null : source.find(name);
        return stored == null ? null : Tensor.dense(dtype, rows, columns, stored.memory());
    }
}
