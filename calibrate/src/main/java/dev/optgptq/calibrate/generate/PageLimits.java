package dev.optgptq.calibrate.generate;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheType;
import java.util.ArrayList;
import java.util.List;

/**
 * Limits of a generation's device memory beside the weights.
 *
 * @param pages of the pool, for each block
 * @param sequences that are computed together
 * @param rows tokens that are computed at a time, at least as many as sequences
 * @param positions the longest sequence
 * @param logitsRows tokens whose logits exist at one time, at least as many as sequences
 */
public record PageLimits(CacheType cache, int pages, int sequences, int rows, int positions, int logitsRows) {

    public PageLimits {
        if (pages < 1 || sequences < 1 || rows < sequences || positions < 1 || logitsRows < sequences) {
            throw new IllegalArgumentException("bad limits: pages " + pages + ", sequences " + sequences + ", rows "
                    + rows + ", positions " + positions + ", rows of logits " + logitsRows);
        }
    }

    /** Of each block. UserError UNSUPPORTED_MODEL where one keeps something else than keys and values. */
    List<CachePages> allocate(ModelSpec spec, TensorArena arena) {
        List<CachePages> all = new ArrayList<>();
        for (BlockSpec block : spec.blockSpecs()) {
            Mixer.Attention form = attention(spec, block);
            all.add(CachePages.allocate(cache, form.kvHeads(), form.headDim(), pages, arena));
        }
        return all;
    }

    /** Size of a page in all blocks together. UserError UNSUPPORTED_MODEL as allocate(). */
    public static long bytesPerPage(ModelSpec spec, CacheType cache) {
        return spec.blockSpecs().stream().map(block -> attention(spec, block))
                .mapToLong(form -> CachePages.bytesPerPage(cache, form.kvHeads(), form.headDim())).sum();
    }

    private static Mixer.Attention attention(ModelSpec spec, BlockSpec block) {
        return switch (block.mixer()) {
            case Mixer.Attention form -> form;
            case Mixer.LatentAttention latent -> throw unsupported(spec, block, "latent attention");
            case Mixer.DeltaNet net -> throw unsupported(spec, block, "a gated deltanet");
        };
    }

    private static UserError unsupported(ModelSpec spec, BlockSpec block, String what) {
        return new UserError(UserError.Code.UNSUPPORTED_MODEL, "generating with a " + spec.family() + " model: block "
                + block.index() + " has " + what
                + ", whose state is not kept in pages yet; expected attention over keys and values. It can be quantized and "
                + "evaluated without a cache");
    }

    /** Room for ids, positions, rows of the table of positions, slots, lengths, last rows, starts and the table. */
    long integers() {
        return 4L * rows + 3L * sequences + 1 + (long) sequences * PageTable.pagesFor(positions);
    }

    /** Device memory of PagedModel beside weights and pages. */
    public long workingBytes(ModelSpec spec, DType products) {
        long stream = (long) spec.hiddenSize() * (rows + sequences + logitsRows);
        return ModelMemory.workspaceBytes(spec, products, rows, positions)
                + Float.BYTES * (stream + (long) logitsRows * spec.vocabSize() + sequences + integers());
    }
}
