package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * Keys and values of one block's past tokens on a device, in pages of {@link #TOKENS} tokens. Row page * kvHeads + head of each
 * tensor is one head's share of a page, token after token, so that it is read in one run.
 *
 * @param keys of the type's dtype [pages * kvHeads, TOKENS * width], width elements for a head of one token
 * @param values the same
 * @param keyGrids F16 [pages * kvHeads, TOKENS * 2]: scale and minimum of each token; null where elements are not codes
 * @param valueGrids the same
 */
public record CachePages(CacheType type, int kvHeads, int headDim, Tensor keys, Tensor values,
        @Nullable Tensor keyGrids, @Nullable Tensor valueGrids) {

    /** Of a page. A common prefix is shared in whole pages, and a sequence wastes less than one. */
    public static final int TOKENS = 16;

    /** Allocates pages with undefined contents. */
    public static CachePages allocate(CacheType type, int kvHeads, int headDim, long pages, TensorArena arena) {
        long rows = pages * kvHeads;
        long columns = (long) TOKENS * type.width(headDim);
        long grids = (long) TOKENS * CacheType.GRID;
        boolean codes = type.isQuantized();
        return new CachePages(type, kvHeads, headDim, arena.matrix(type.dtype(), rows, columns),
                arena.matrix(type.dtype(), rows, columns), codes ? arena.matrix(DType.F16, rows, grids) : null,
                codes ? arena.matrix(DType.F16, rows, grids) : null);
    }

    /** Size of a page. */
    public static long bytesPerPage(CacheType type, int kvHeads, int headDim) {
        return (long) TOKENS * kvHeads * type.bytesPerHead(headDim);
    }

    /** Number of pages. */
    public long count() {
        return keys.rows() / kvHeads;
    }

    /** Copies whole pages, for copy-on-write. */
    public void copyPage(long from, long to, Device device) {
        copy(keys, from, to, device);
        copy(values, from, to, device);
        if (keyGrids != null && valueGrids != null) {
            copy(keyGrids, from, to, device);
            copy(valueGrids, from, to, device);
        }
    }

    private void copy(Tensor all, long from, long to, Device device) {
        device.matrix().copy(all.rows(from * kvHeads, kvHeads), all.rows(to * kvHeads, kvHeads));
    }
}
