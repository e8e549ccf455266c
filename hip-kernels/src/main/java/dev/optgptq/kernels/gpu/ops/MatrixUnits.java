package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** Whether a GPU has matrix units that matrix_units.h supports, determined once from the compiled code. */
final class MatrixUnits {

    private final GpuContext context;
    private @Nullable Boolean there;

    MatrixUnits(GpuContext context) {
        this.context = context;
    }

    boolean areThere() {
        Boolean known = there;
        if (known == null) {
            try (TensorArena arena = context.arena(); Arena host = Arena.ofConfined()) {
                Tensor answer = arena.matrix(DType.I32, 1, 1);
                context.kernel("paged_attention_units", "has_matrix_units").launch(1, 1, 0, answer);
                MemorySegment found = host.allocate(ValueLayout.JAVA_INT);
                context.download(answer, found);
                known = found.get(ValueLayout.JAVA_INT, 0) != 0;
            }
            there = known;
        }
        return known;
    }
}
