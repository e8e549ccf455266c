package dev.optgptq.gptq.convert.fit;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;

/** Dense tensors of one shape in a device's memory as vectors. */
public interface Vectors {

    Device device();

    /** Of the elements. */
    DType dtype();

    /** y = alpha x + beta y; beta 0 never reads y. */
    void combine(double alpha, Tensor x, double beta, Tensor y);

    /** The sum over all elements of x y. */
    double dot(Tensor x, Tensor y);
}
