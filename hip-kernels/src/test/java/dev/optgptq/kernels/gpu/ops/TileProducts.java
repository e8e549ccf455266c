package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A matrix library for the emulator, so that what the ops do with a library runs there too: the tiles of gemm.hip for
 * float32, plain loops over its memory, which the CPU can reach, for fp16/bf16.
 */
final class TileProducts implements GpuBlas {

    private static final long TILE = 128;
    private static final Batch ONE = new Batch(1, 0, 0, 0);

    private final GpuContext context;

    TileProducts(GpuContext context) {
        this.context = context;
    }

    @Override
    public String description() {
        return "the tiles of gemm.hip";
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        if (a.dtype() != DType.F32) {
            gemmStrided(alpha, a, transposeA, b, transposeB, beta, c, ONE);
            return;
        }
        String form = (transposeA ? "t" : "n") + (transposeB ? "t" : "n");
        context.kernel("gemm", "gemm_" + form).launchGrid(Math.ceilDiv(c.columns(), TILE),
                Math.ceilDiv(c.rows(), TILE), 1, 256, 0, (int) c.rows(), (int) c.columns(),
                (int) (transposeA ? a.rows() : a.columns()), alpha, a, a.stride(), b, b.stride(), null, beta, c,
                c.stride(), 0);
    }

    @Override
    public void gemm64(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
            Tensor c) {
        throw new UnsupportedOperationException("the emulator uses the tiles of float64.hip");
    }

    @Override
    public void gemmStrided(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta,
            Tensor c, Batch batch) {
        context.synchronize();
        long inner = transposeA ? a.rows() : a.columns();
        for (int at = 0; at < batch.count(); at++) {
            for (long i = 0; i < c.rows(); i++) {
                for (long j = 0; j < c.columns(); j++) {
                    double sum = 0;
                    for (long k = 0; k < inner; k++) {
                        sum += get(a, at * batch.strideA(), transposeA ? k : i, transposeA ? i : k)
                                * get(b, at * batch.strideB(), transposeB ? j : k, transposeB ? k : j);
                    }
                    long index = at * batch.strideC() + i * c.stride() + j;
                    double before = beta == 0 ? 0 : beta * get(c, at * batch.strideC(), i, j);
                    reach(c).setAtIndex(ValueLayout.JAVA_FLOAT, index, (float) (alpha * sum + before));
                }
            }
        }
    }

    private static double get(Tensor tensor, long from, long row, long column) {
        long index = from + row * tensor.stride() + column;
        return switch (tensor.dtype()) {
            case F16 -> Float.float16ToFloat(reach(tensor).getAtIndex(ValueLayout.JAVA_SHORT, index));
            case BF16 -> FloatRounding.bf16ToFloat(reach(tensor).getAtIndex(ValueLayout.JAVA_SHORT, index));
            default -> reach(tensor).getAtIndex(ValueLayout.JAVA_FLOAT, index);
        };
    }

    /** The operands of later matmuls lie beyond the tensor's own memory. */
    private static MemorySegment reach(Tensor tensor) {
        return MemorySegment.ofAddress(tensor.memory().address()).reinterpret(Long.MAX_VALUE);
    }

    @Override
    public void close() {
        // Nothing of its own.
    }
}
