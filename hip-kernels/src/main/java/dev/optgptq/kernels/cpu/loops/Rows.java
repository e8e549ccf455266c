package dev.optgptq.kernels.cpu.loops;

import dev.optgptq.kernels.Tensor;
import java.util.function.LongConsumer;

/** Runs an op's rows on all threads. */
public final class Rows {

    /** Elements per task: some 10 microseconds of work, enough to pay for handing it out. */
    private static final long TASK_ELEMENTS = 1 << 15;

    private Rows() {}

    /** body(row) for every row of the tensor; none where rows are empty. */
    public static void forEach(Parallel parallel, Tensor tensor, LongConsumer body) {
        if (tensor.columns() == 0) {
            return;
        }
        long chunk = Math.max(1, TASK_ELEMENTS / tensor.columns());
        parallel.forRanges(tensor.rows(), chunk, (from, to) -> {
            for (long row = from; row < to; row++) {
                body.accept(row);
            }
        });
    }
}
