package dev.optgptq.kernels.gpu.blas;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.gpu.GpuBlas;
import java.lang.foreign.MemorySegment;

/** A vendor's library: one function, in the column-major terms that both share. */
interface GemmLibrary {

    /** The library and its version, for people. */
    String description();

    /** Statuses are checked: UserError DEVICE. */
    void gemm(Call call);

    /** The batch in the library's terms: its a and b are those of the call. */
    void gemmStrided(Call call, GpuBlas.Batch batch);

    /**
     * C = alpha op(A) op(B) + beta C, column-major: op(A) is m x k, op(B) k x n, C m x n. Of F64 all is float64; of the others C and
     * the sums are float32.
     *
     * @param alphaBeta two numbers of the sums' dtype in host memory
     * @param input dtype of A and B
     * @param lda elements from one column to the next
     */
    record Call(boolean transposeA, boolean transposeB, int m, int n, int k, MemorySegment alphaBeta, DType input,
            long a,
            int lda, long b, int ldb, long c, int ldc) {

        MemorySegment beta() {
            return alphaBeta.asSlice(input == DType.F64 ? Double.BYTES : Float.BYTES);
        }
    }

    void close();
}
