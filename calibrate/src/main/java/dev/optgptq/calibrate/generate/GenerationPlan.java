package dev.optgptq.calibrate.generate;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.CacheType;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Device memory of a generation, planned before anything is loaded.
 *
 * @param weightBytes all blocks, the head and the embedding
 * @param workingBytes buffers
 * @param pageBytes the pool
 */
public record GenerationPlan(PageLimits limits, long weightBytes, long workingBytes, long pageBytes) {

    /** Maximum sequences in a batch: more gain little, since the weights are read once for all. */
    private static final int MOST_SEQUENCES = 64;
    /** Tokens of a prompt that are computed at a time. */
    private static final int ROWS = 512;

    /**
     * Plans the sizes. UserError MEMORY where the weights and one sequence do not fit.
     *
     * @param sequences in a batch; null for as many as fit
     * @param cacheBytes for the pool; null for as much free memory as the requests can use
     * @param free bytes of the device
     */
    public static GenerationPlan of(Transformer model, CacheType cache, List<Request> requests,
            @Nullable Integer sequences, @Nullable Long cacheBytes, long free) {
        int[] longest = requests.stream()
                .mapToInt(request -> (int) Math.min((long) request.prompt().length + request.maxTokens(),
                        model.spec().maxPositions()))
                .sorted().toArray();
        return of(model, cache, longest, sequences, cacheBytes, free);
    }

    /**
     * For one sequence at a time of at most so many tokens.
     *
     * @param cacheBytes and the others as above
     */
    public static GenerationPlan ofConversation(Transformer model, CacheType cache, int positions,
            @Nullable Long cacheBytes, long free) {
        return of(model, cache, new int[] {positions}, 1, cacheBytes, free);
    }

    private static GenerationPlan of(Transformer model, CacheType cache, int[] longest, @Nullable Integer sequences,
            @Nullable Long cacheBytes, long free) {
        ModelSpec spec = model.spec();
        DType products = model.products();
        int positions = longest[longest.length - 1];
        int together = Math.min(longest.length, sequences == null ? MOST_SEQUENCES : sequences);
        long perPage = PageLimits.bytesPerPage(spec, cache);
        PageLimits working = new PageLimits(cache, 1, together, Math.max(together, Math.min(ROWS, positions)),
                positions, together);
        long weights = ModelMemory.weightBytes(model);
        long left = free - weights - working.workingBytes(spec, products);
        long room = cacheBytes == null ? left : Math.min(cacheBytes, left);
        int needed = PageTable.pagesFor(positions);
        if (room < needed * perPage) {
            throw new UserError(UserError.Code.MEMORY, tooLittle(needed * perPage, positions, weights,
                    working.workingBytes(spec, products), free, cacheBytes));
        }
        // The longest of those that can run together.
        long useful = Arrays.stream(longest, longest.length - together, longest.length).mapToLong(PageTable::pagesFor)
                .sum();
        int pages = (int) Math.min(Math.min(useful, room / perPage), Integer.MAX_VALUE);
        PageLimits limits = new PageLimits(cache, pages, working.sequences(), working.rows(), positions,
                working.logitsRows());
        return new GenerationPlan(limits, weights, working.workingBytes(spec, products), pages * perPage);
    }

    private static String tooLittle(long needed, int positions, long weights, long working, long free,
            @Nullable Long cacheBytes) {
        String pool = "the cache of one sequence of " + positions + " tokens takes " + mebibytes(needed);
        if (cacheBytes != null && cacheBytes < needed) {
            return pool + ", and --cache-memory gives it " + mebibytes(cacheBytes)
                    + "; give it more, ask for fewer tokens, or use a smaller --cache type";
        }
        return "generating needs about " + mebibytes(weights + working + needed) + " (weights " + mebibytes(weights)
                + ", buffers " + mebibytes(working) + "; " + pool + "), and " + mebibytes(free)
                + " are free; ask for fewer tokens, use a smaller --cache type, or a device with more memory";
    }

    private static String mebibytes(long bytes) {
        return (bytes >> 20) + " MiB";
    }

    /** In all. */
    public long bytes() {
        return weightBytes + workingBytes + pageBytes;
    }
}
