package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.CacheType;
import org.jspecify.annotations.Nullable;

/**
 * Attention over pages on a GPU: on the matrix units if the GPU has them and they support the kind of pages and heads, by
 * a kernel of their own for sequences that decode; else on the plain units. Blocks share long sequences; a second kernel
 * merges their parts.
 */
record PagedAttention(GpuContext context) {

    private static final String UNITS = "paged_attention_units";
    private static final String FEW = "paged_attention_few";
    /** Pairs of a sequence that are few: paged_attention_few.hip takes such sequences, where waves are of 32. */
    private static final int FEW_PAIRS = 8;
    /** Pairs of a row and a query head that a block takes. */
    private static final int PAIRS = 16;
    private static final int PLAIN_THREADS = 256;
    private static final int UNIT_WAVES = 4;
    private static final int MERGE_THREADS = 128;
    /** As chunk_pages of cache_pages.h: pages of a chunk at least, and chunks of a sequence at most. */
    private static final long CHUNK_PAGES = 16;
    private static final long INT4_CHUNK_PAGES = 32;
    private static final long MOST_CHUNKS = 32;

    /** @param rounded the same in F16 or BF16, or null */
    void run(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out, @Nullable Tensor rounded) {
        if (q.rows() == 0) {
            return;
        }
        boolean units = takes(pages) && (!hasFew() || Extent.isAligned(context, q)) && context.hasMatrixUnits();
        int width = units ? shape.headDim() : GpuAttention.width(shape.headDim());
        long chunks = mostChunks(rows.table().columns(), pages.type());
        int pairs = (int) Math.min(PAIRS, (long) rows.mostRows() * shape.group());
        try (TensorArena arena = context.arena()) {
            Tensor parts = chunks == 1
                    ? null
                    : arena.matrix(DType.F32, rows.sequences() * shape.kvHeads() * chunks * pairs, width + 2L);
            Launch launch = new Launch(q, pages, rows, slopes, sinks, shape, out, rounded, parts,
                    (int) chunks, pairs);
            if (units) {
                launch.units();
            } else {
                launch.plain(width);
            }
            if (parts != null) {
                context.kernel("paged_attention", "merge").launchGrid((long) shape.kvHeads() * pairs, rows.sequences(),
                        1,
                        MERGE_THREADS, 0, parts, width + 2, GpuCacheOps.code(pages.type()), rows.lengths(),
                        rows.starts(), sinks, out,
                        out.stride(), rounded,
                        roundedCode(rounded), GpuCacheOps.stride(rounded), shape.kvHeads(), shape.group(),
                        shape.headDim(), shape.window(), (int) chunks,
                        pairs);
            }
        }
    }

    /** As elements.h numbers the dtype of what is also rounded; 0 where nothing is. */
    private static int roundedCode(@Nullable Tensor rounded) {
        return rounded == null ? 0 : Extent.code(rounded.dtype());
    }

    private static long mostChunks(long pages, CacheType type) {
        long fewest = type == CacheType.INT4 ? INT4_CHUNK_PAGES : CHUNK_PAGES;
        return Math.clamp(Math.ceilDiv(pages, fewest), 1, MOST_CHUNKS);
    }

    /** As attention_shape.h has it: the score of the product 1 in caps. */
    private static float inCaps(CacheShape shape) {
        return shape.softcap() == 0 ? 0 : shape.scale() / shape.softcap();
    }

    /** Whether sequences that decode have their own kernel, which reads queries 16 bytes at a time. */
    private boolean hasFew() {
        return context.waveWidth() == 32;
    }

    private boolean takes(CachePages pages) {
        return pages.type() != CacheType.F32 && (pages.headDim() == 64 || pages.headDim() == 128)
                && Extent.isAligned(context, pages.keys()) && Extent.isAligned(context, pages.values())
                && (pages.keyGrids() == null || Extent.isAligned(context, pages.keyGrids()))
                && (pages.valueGrids() == null || Extent.isAligned(context, pages.valueGrids()));
    }

    /** The arguments of one call. */
    private final class Launch {
        private final Tensor q;
        private final CachePages pages;
        private final CacheRows rows;
        private final @Nullable Tensor slopes;
        private final @Nullable Tensor sinks;
        private final CacheShape shape;
        private final Tensor out;
        private final @Nullable Tensor rounded;
        private final @Nullable Tensor parts;
        private final int chunks;
        private final int partPairs;

        Launch(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
                CacheShape shape, Tensor out, @Nullable Tensor rounded, @Nullable Tensor parts, int chunks,
                int partPairs) {
            this.q = q;
            this.pages = pages;
            this.rows = rows;
            this.slopes = slopes;
            this.sinks = sinks;
            this.shape = shape;
            this.out = out;
            this.rounded = rounded;
            this.parts = parts;
            this.chunks = chunks;
            this.partPairs = partPairs;
        }

        private long tiles() {
            return Math.ceilDiv((long) rows.mostRows() * shape.group(), PAIRS);
        }

        /** Each sequence by one of two kernels, which depends on that sequence alone. */
        void units() {
            String name = "attend_" + name(pages.type()) + "_" + shape.headDim();
            if (hasFew()) {
                units(context.kernel(FEW, name), 1);
            }
            if (!hasFew() || (long) rows.mostRows() * shape.group() > FEW_PAIRS) {
                units(context.kernel(UNITS, name), tiles());
            }
        }

        private void units(Kernel kernel, long tiles) {
            kernel.launchGrid(
                    (long) shape.kvHeads() * chunks, tiles, rows.sequences(), UNIT_WAVES * context.waveWidth(), 0, q,
                    q.stride(), pages.keys(), pages.keys().stride(), pages.keyGrids(),
                    GpuCacheOps.stride(pages.keyGrids()), pages.values(), pages.values().stride(), pages.valueGrids(),
                    GpuCacheOps.stride(pages.valueGrids()), rows.table(), rows.table().stride(), rows.lengths(),
                    rows.starts(), slopes, sinks, out, out.stride(), rounded,
                    roundedCode(rounded), GpuCacheOps.stride(rounded), shape.kvHeads(), shape.group(),
                    shape.scale(),
                    inCaps(shape), shape.window(), parts, chunks, partPairs);
        }

        void plain(int width) {
            context.kernel("paged_attention", "attend" + width).launchGrid((long) shape.kvHeads() * chunks, tiles(),
                    rows.sequences(), PLAIN_THREADS, 0, q, q.stride(), GpuCacheOps.code(pages.type()), pages.keys(),
                    pages.keys().stride(), pages.keyGrids(), GpuCacheOps.stride(pages.keyGrids()), pages.values(),
                    pages.values().stride(), pages.valueGrids(), GpuCacheOps.stride(pages.valueGrids()), rows.table(),
                    rows.table().stride(), rows.lengths(), rows.starts(), slopes, sinks, out, out.stride(), rounded,
                    roundedCode(rounded), GpuCacheOps.stride(rounded), shape.kvHeads(),
                    shape.group(), shape.headDim(), pages.type().width(shape.headDim()), shape.scale(), inCaps(shape),
                    shape.window(),
                    parts, chunks, partPairs);
        }

        private static String name(CacheType type) {
            return switch (type) {
                case F32 -> throw new IllegalArgumentException("the matrix units take no F32");
                case F16 -> "f16";
                case BF16 -> "bf16";
                case INT8 -> "int8";
                case INT4 -> "int4";
            };
        }
    }
}
