package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;

/** A matrix library made of the tiles of gemm.hip, for float32: what the ops do with a library runs on the emulator too. */
final class TileProducts implements GpuBlas {

    private static final long TILE = 128;

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
        String form = (transposeA ? "t" : "n") + (transposeB ? "t" : "n");
        context.kernel("gemm", "gemm_" + form).launchGrid(Math.ceilDiv(c.columns(), TILE),
                Math.ceilDiv(c.rows(), TILE), 1, 256, 0, (int) c.rows(), (int) c.columns(),
                (int) (transposeA ? a.rows() : a.columns()), alpha, a, a.stride(), b, b.stride(), null, beta, c,
                c.stride(), 0);
    }

    @Override
    public void close() {
        // Nothing of its own.
    }
}
