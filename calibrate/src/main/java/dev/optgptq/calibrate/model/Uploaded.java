package dev.optgptq.calibrate.model;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Which of a model's tensors are on a device already, as they are stored: none, unless an {@link UploadAhead} is open. */
final class Uploaded {

    private @Nullable UploadAhead source;

    void begin(UploadAhead ahead) {
        if (source != null) {
            throw new IllegalStateException("blocks of this model are uploaded ahead already");
        }
        source = ahead;
    }

    void end(UploadAhead ahead) {
        if (source == ahead) {
            source = null;
        }
    }

    /** The bytes of a stored tensor as a matrix, valid until another block is wanted; null when it is not there. */
    @Nullable
    Tensor find(String name, DType dtype, long rows, long columns) {
        Tensor stored = source == null ? null : source.find(name);
        return stored == null ? null : Tensor.dense(dtype, rows, columns, stored.memory());
    }
}
