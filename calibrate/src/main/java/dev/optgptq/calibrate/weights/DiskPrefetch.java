package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Together;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Reads the weights of a block and of the next one from disk while others load and compute: a hint, which changes no
 * result and no error. The data stays in the page cache, from which loadBlock() then copies. Close it before the
 * model's directory; closing waits for at most one piece.
 */
public final class DiskPrefetch implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(DiskPrefetch.class.getName());
    private static final int NOTHING = -1;
    /** Bytes per read: enough for the full rate of a local or network disk, and quick to finish. */
    private static final long PIECE_BYTES = 16L << 20;

    private final IntFunction<List<MemorySegment>> weights;
    private final Object changed = new Object();
    private final Thread reader;
    private int wanted = NOTHING;
    private boolean closed;

    public DiskPrefetch(ModelDirectory directory, ModelSpec spec) {
        this(block -> block >= spec.blocks() ? List.of() : mapped(directory, spec, block));
    }

    /** @param weights of a block, mapped from files */
    public DiskPrefetch(IntFunction<List<MemorySegment>> weights) {
        this.weights = weights;
        this.reader = Thread.ofPlatform().daemon().name("opt-gptq-disk-prefetch").start(this::run);
    }

    /** Unmapped tensors are in memory already. */
    private static List<MemorySegment> mapped(ModelDirectory directory, ModelSpec spec, int block) {
        return Prefetch.tensors(directory, spec, block).stream().map(view -> view.data())
                .filter(MemorySegment::isMapped).toList();
    }

    /** This block is needed now, and then the next, if there is one. Stops reading earlier ones. */
    public void wants(int block) {
        synchronized (changed) {
            wanted = block;
            changed.notifyAll();
        }
    }

    private void run() {
        for (Integer block = next(); block != null; block = next()) {
            read(block, block);
            read(block + 1, block);
            done(block);
        }
    }

    private void read(int block, int wantedOne) {
        for (MemorySegment tensor : weights.apply(block)) {
            for (long at = 0; at < tensor.byteSize(); at += PIECE_BYTES) {
                if (!isWanted(wantedOne)) {
                    return;
                }
                read(tensor.asSlice(at, Math.min(PIECE_BYTES, tensor.byteSize() - at)));
            }
        }
    }

    private static void read(MemorySegment piece) {
        try {
            piece.load();
        } catch (InternalError e) {
            // The file was truncated, or its disk fails: loading the block reports it.
            LOG.log(System.Logger.Level.DEBUG, "not prefetched", e);
        }
    }

    private void done(int block) {
        synchronized (changed) {
            if (wanted == block) {
                wanted = NOTHING;
            }
        }
    }

    private @Nullable Integer next() {
        synchronized (changed) {
            while (wanted == NOTHING && !closed) {
                try {
                    changed.wait();
                } catch (InterruptedException e) {
                    return null; // interrupted by foreign code: then there are no more hints
                }
            }
            return closed ? null : wanted;
        }
    }

    private boolean isWanted(int block) {
        synchronized (changed) {
            return !closed && wanted == block;
        }
    }

    @Override
    public void close() {
        synchronized (changed) {
            closed = true;
            changed.notifyAll();
        }
        Together.await(reader);
    }
}
