package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Together;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Has the weights of a block and of the one behind it read from the disk while others load and compute: a hint, which changes no result and
 * no error. What is read stays in the system's cache of files, from which loadBlock() then copies. Close it before the
 * model's directory; it then waits for no more than a piece.
 */
public final class DiskPrefetch implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(DiskPrefetch.class.getName());
    private static final int NOTHING = -1;
    /** Read at a time: enough for the full rate of a disk, or of a network's, and little to wait for. */
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

    /** What is not mapped is in memory already. */
    private static List<MemorySegment> mapped(ModelDirectory directory, ModelSpec spec, int block) {
        return Prefetch.tensors(directory, spec, block).stream().map(view -> view.data())
                .filter(MemorySegment::isMapped).toList();
    }

    /** This block is needed now, and then the next, if there is one. Of what was wanted before, nothing more is read. */
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
            // The file was cut off, or its disk fails: whoever loads the block finds out, and says so.
            LOG.log(System.Logger.Level.DEBUG, "not read ahead", e);
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
                    return null; // by nobody that is ours: then there are no hints any more
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
