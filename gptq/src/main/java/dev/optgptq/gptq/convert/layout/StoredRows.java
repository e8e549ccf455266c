package dev.optgptq.gptq.convert.layout;

import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Rows of a stored matrix, or elements of a stored vector, under another name and in another order, in the dtype that they have. */
final class StoredRows {

    private StoredRows() {}

    /**
     * Rows of a matrix that is stored [out, in], or elements of a vector.
     *
     * @param order for each row of the result, that of the view; neighbours are not copied
     */
    static TensorView of(TensorView view, String name, int[] order, Arena arena) {
        boolean vector = view.shape().rank() == 1;
        long columns = vector ? 1 : view.shape().dimension(1);
        long rowBytes = columns * view.dtype().bytes();
        Shape shape = vector ? Shape.of(order.length) : Shape.of(order.length, columns);
        if (isRun(order)) {
            return new TensorView(name, view.dtype(), shape,
                    view.data().asSlice(order[0] * rowBytes, order.length * rowBytes), view.file());
        }
        MemorySegment rows = arena.allocate(order.length * rowBytes, Double.BYTES);
        for (int row = 0; row < order.length; row++) {
            MemorySegment.copy(view.data(), order[row] * rowBytes, rows, row * rowBytes, rowBytes);
        }
        return new TensorView(name, view.dtype(), shape, rows, view.file());
    }

    /** The same of a matrix that is stored [in, out]; the result is [out, in]. */
    static TensorView ofTurned(TensorView view, String name, int[] order, Arena arena) {
        long inputs = view.shape().dimension(0);
        long outputs = view.shape().dimension(1);
        int bytes = view.dtype().bytes();
        MemorySegment rows = arena.allocate(order.length * inputs * bytes, Double.BYTES);
        for (int row = 0; row < order.length; row++) {
            for (long column = 0; column < inputs; column++) {
                MemorySegment.copy(view.data(), (column * outputs + order[row]) * bytes, rows,
                        (row * inputs + column) * bytes, bytes);
            }
        }
        return new TensorView(name, view.dtype(), Shape.of(order.length, inputs), rows, view.file());
    }

    private static boolean isRun(int[] order) {
        for (int row = 1; row < order.length; row++) {
            if (order[row] != order[row - 1] + 1) {
                return false;
            }
        }
        return true;
    }
}
