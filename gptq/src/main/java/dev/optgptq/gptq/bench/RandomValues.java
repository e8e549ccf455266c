package dev.optgptq.gptq.bench;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;

/** Fills tensors on a device with random numbers from -1 to 1. */
final class RandomValues {

    private static final long SEED = 2;
    /** Rows of random numbers; longer tensors repeat them. */
    private static final int MOST_ROWS = 64;

    private RandomValues() {}

    /** @param target F32, F16 or BF16 */
    static void fill(Device device, TensorArena arena, Tensor target) {
        int rows = (int) Math.min(MOST_ROWS, target.rows());
        int columns = Math.toIntExact(target.columns());
        SplittableRandom random = new SplittableRandom(SEED);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextDouble(-1, 1);
        }
        Tensor made = arena.matrix(DType.F32, rows, columns);
        device.upload(MemorySegment.ofArray(values), made);
        for (long row = 0; row < target.rows(); row += rows) {
            long count = Math.min(rows, target.rows() - row);
            device.neural().convert(made.rows(0, count), target.rows(row, count));
        }
    }
}
