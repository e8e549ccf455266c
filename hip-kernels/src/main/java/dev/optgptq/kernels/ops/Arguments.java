package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;

/**
 * Checks of op arguments. Every device wraps its ops in the Checked classes beside this one, so that its twins need not check. A message
 * names the op, the argument, what was expected and what was found. A failure is a bug in the calling code, never bad
 * user input.
 */
public final class Arguments {

    private Arguments() {}

    /** An id of embed or a target of crossEntropy, read by a twin whose memory the host can read. */
    public static int token(String op, int id, long position, long vocabulary) {
        if (id < 0 || id >= vocabulary) {
            throw new IllegalArgumentException(
                    op + ": token " + position + " is " + id + ", outside [0, " + vocabulary + ")");
        }
        return id;
    }

    /**
     * Requires an F32 [rows, columns].
     *
     * @param name of the argument
     */
    public static void f32(String op, String name, Tensor tensor, long rows, long columns) {
        shaped(op, name, tensor, DType.F32, rows, columns);
    }

    /**
     * Requires dtype and shape.
     *
     * @param name of the argument
     */
    public static void shaped(String op, String name, Tensor tensor, DType dtype, long rows, long columns) {
        if (tensor.dtype() != dtype || tensor.rows() != rows || tensor.columns() != columns) {
            throw new IllegalArgumentException(
                    op + ": " + name + ": expected " + dtype + "[" + rows + ", " + columns + "], found " + tensor);
        }
    }
}
