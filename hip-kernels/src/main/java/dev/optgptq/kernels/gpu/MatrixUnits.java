package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Whether a GPU has matrix units that matrix_units.h supports, determined from the compiled code. */
final class MatrixUnits {

    private MatrixUnits() {}

    static boolean areThere(GpuContext context) {
        try (TensorArena arena = context.arena(); Arena host = Arena.ofConfined()) {
            Tensor answer = arena.matrix(DType.I32, 1, 1);
            context.kernel("has_matrix_units", "has_matrix_units").launch(1, 1, 0, answer);
            MemorySegment found = host.allocate(ValueLayout.JAVA_INT);
            context.download(answer, found);
            return found.get(ValueLayout.JAVA_INT, 0) != 0;
        }
    }
}
