package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;

/** QuantOps.checksum on a GPU: a CRC of every piece, and of groups of them until one is left. */
record GpuChecksum(GpuContext context) {

    private static final String SOURCE = "checksum";
    private static final int THREADS = Extent.THREADS;
    /** Bytes of a thread, and parts that a block joins. */
    private static final long PIECE = 256;
    private static final long JOINED = 256;

    void run(Tensor bytes, Tensor crc) {
        long total = bytes.elements();
        long count = Math.ceilDiv(total, PIECE);
        long size = PIECE;
        try (TensorArena arena = context.arena()) {
            Tensor parts = arena.vector(DType.I32, Math.max(1, count));
            context.kernel(SOURCE, "checksum_pieces").launch(Math.ceilDiv(count, THREADS), THREADS, 0, bytes,
                    bytes.stride(), bytes.columns(), total, parts, count);
            while (true) {
                long blocks = Math.max(1, Math.ceilDiv(count, JOINED));
                boolean last = blocks == 1;
                Tensor joined = last ? crc : arena.vector(DType.I32, blocks);
                context.kernel(SOURCE, "checksum_join").launch(blocks, THREADS, 0, parts, count, size, joined,
                        last ? total : -1L);
                if (last) {
                    return;
                }
                parts = joined;
                count = blocks;
                size *= JOINED;
            }
        }
    }
}
