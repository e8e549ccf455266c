package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;

/** Checks of op arguments. A failure is a mistake of the calling code, never of a user's input. */
public final class Arguments {

    private Arguments() {}

    /** Requires an F32 [rows, columns]. */
    public static void f32(String name, Tensor tensor, long rows, long columns) {
        shaped(name, tensor, DType.F32, rows, columns);
    }

    /** Requires dtype and shape. */
    public static void shaped(String name, Tensor tensor, DType dtype, long rows, long columns) {
        if (tensor.dtype() != dtype || tensor.rows() != rows || tensor.columns() != columns) {
            throw new IllegalArgumentException(
                    name + ": expected " + dtype + "[" + rows + ", " + columns + "], found " + tensor);
        }
    }
}
