package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;

/** A tensor to be written, known before its bytes, so that a header can be planned. */
public record TensorSpec(String name, DType dtype, Shape shape) {

    /** Size of the data, in bytes. */
    public long bytes() {
        return Math.multiplyExact(shape.elements(), dtype.bytes());
    }
}
