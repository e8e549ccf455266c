package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The memory of one device. Freed blocks are cached for the next allocation of the same size: driver allocations are
 * slow, and freeing waits for the device. A block is used on one stream, so the next owner's work comes after the last
 * owner's; other streams borrow a block and synchronize at both ends. Cached blocks are returned to the driver when the
 * device is full, and when far more would be held than the peak in use: phases of work need blocks of different sizes.
 */
final class GpuMemory implements AutoCloseable {

    /** Sizes are rounded up to this, so that tensors of similar size can follow each other. */
    private static final long GRANULE = 256;
    /** What may be held beyond the peak in use: a share of it, and a constant for small jobs. */
    private static final long SLACK = 16;
    private static final long SLACK_BYTES = 128L << 20;

    private final GpuDriver driver;
    private final String device;
    /** Sizes of blocks in use, by address. */
    private final TreeMap<Long, Long> used = new TreeMap<>();
    /** Addresses of cached blocks by size; no list is empty. */
    private final TreeMap<Long, Deque<Long>> kept = new TreeMap<>();
    private long keptBytes;
    /** Blocks that were freed since hold(), by size; null while nobody holds. They count as used. */
    private @Nullable Map<Long, Deque<Long>> held;
    private long inUse;
    private long peak;

    GpuMemory(GpuDriver driver, String device) {
        this.driver = driver;
        this.device = device;
    }

    /**
     * A block of at least this size, aligned to 256 bytes. UserError MEMORY with what was requested and what was free.
     *
     * @param what the content, for the message
     */
    synchronized long allocate(long bytes, String what) {
        long size = rounded(bytes);
        Deque<Long> own = held == null ? null : held.get(size);
        if (own != null && !own.isEmpty()) {
            return own.pop();
        }
        long address = kept.containsKey(size) ? again(size) : fresh(size, what);
        used.put(address, size);
        inUse += size;
        peak = Math.max(peak, inUse);
        return address;
    }

    private long fresh(long size, String what) {
        shrink(size);
        try {
            return driver.allocate(size);
        } catch (UserError full) {
            if (full.code() != UserError.Code.MEMORY) {
                throw full;
            }
            releaseKept();
        }
        try {
            return driver.allocate(size);
        } catch (UserError full) {
            if (full.code() != UserError.Code.MEMORY) {
                throw full;
            }
            GpuDriver.MemoryInfo now = driver.memory();
            throw new UserError(UserError.Code.MEMORY, String.format(Locale.ROOT,
                    "not enough memory on %s for a tensor %s: asked for %s, free are %s of %s, and this process holds %s;"
                            + " use fewer or shorter sequences, or a device with more memory",
                    device, what, mebibytes(size), mebibytes(now.free()), mebibytes(now.total()), mebibytes(inUse)),
                    full);
        }
    }

    /** Returns cached blocks to the driver, largest first, until another block stays within the limit. */
    private void shrink(long size) {
        long most = Math.max(peak, inUse + size);
        long room = most + most / SLACK + SLACK_BYTES - inUse - size;
        while (keptBytes > room && !kept.isEmpty()) {
            driver.free(again(kept.lastKey()));
        }
    }

    /** Takes a cached block of this size, which must exist. */
    private long again(long size) {
        Deque<Long> blocks = Objects.requireNonNull(kept.get(size));
        long address = blocks.pop();
        if (blocks.isEmpty()) {
            kept.remove(size);
        }
        keptBytes -= size;
        return address;
    }

    /** Frees a block. Work already issued to the stream may still use it. */
    synchronized void release(long address) {
        Long size = used.get(address);
        if (size == null) {
            throw new IllegalArgumentException("no block at " + Long.toHexString(address));
        }
        if (held != null) {
            held.computeIfAbsent(size, key -> new ArrayDeque<>()).push(address);
            return;
        }
        used.remove(address);
        inUse -= size;
        kept.computeIfAbsent(size, key -> new ArrayDeque<>()).push(address);
        keptBytes += size;
    }

    /**
     * From now on blocks that are freed are for later allocations of the work that is being recorded only: they stay in
     * use for as long as it may be replayed.
     */
    synchronized void hold() {
        held = new TreeMap<>();
    }

    /** Ends {@link #hold}. Returns the blocks that were freed meanwhile, to be released by the caller. */
    synchronized List<Long> endHold() {
        List<Long> blocks = held == null ? List.of() : held.values().stream().flatMap(Deque::stream).toList();
        held = null;
        return blocks;
    }

    /** The address of a tensor, which must lie in a block in use; anything else would be read or written blindly. */
    synchronized long address(Tensor tensor) {
        long address = tensor.memory().address();
        if (tensor.memory().byteSize() == 0) {
            return address;
        }
        Map.Entry<Long, Long> block = used.floorEntry(address);
        if (block == null || address + tensor.memory().byteSize() > block.getKey() + block.getValue()) {
            throw new IllegalArgumentException(tensor + " is not in the memory of " + device);
        }
        return address;
    }

    /** What can still be allocated: free on the device, or cached. */
    synchronized long free() {
        return driver.memory().free() + keptBytes;
    }

    synchronized long inUse() {
        return inUse;
    }

    synchronized long peak() {
        return peak;
    }

    private void releaseKept() {
        List<Runnable> steps = new ArrayList<>();
        kept.values().forEach(blocks -> blocks.forEach(address -> steps.add(() -> driver.free(address))));
        kept.clear();
        keptBytes = 0;
        Closing.all(steps);
    }

    /** Returns everything to the driver, including blocks of arenas that were not closed. */
    @Override
    public synchronized void close() {
        List<Runnable> steps = new ArrayList<>();
        used.keySet().forEach(address -> steps.add(() -> driver.free(address)));
        used.clear();
        inUse = 0;
        steps.add(this::releaseKept);
        Closing.all(steps);
    }

    private static long rounded(long bytes) {
        return Math.max(GRANULE, Math.addExact(bytes, GRANULE - 1) / GRANULE * GRANULE);
    }

    static MemorySegment segment(long address, long bytes) {
        return MemorySegment.ofAddress(address).reinterpret(bytes);
    }

    private static String mebibytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f MiB", bytes / 1048576.0);
    }
}
