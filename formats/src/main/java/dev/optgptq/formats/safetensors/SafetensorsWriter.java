package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.files.PartialFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Writes one safetensors file as a stream: the header is planned from the specs, the data follows in any order of the
 * names, and finish() refuses a file with tensors missing. Written to a temporary file beside the target, synced, then
 * renamed; an older file of the target's name is replaced. Failures to write are UserError OUTPUT naming the file.
 */
public final class SafetensorsWriter implements AutoCloseable {

    /** Bytes per copy from heap segments. */
    private static final int STAGING_BYTES = 1 << 20;
    /** Bytes per write from native segments: a ByteBuffer is limited to the size of an int. */
    private static final long MAX_VIEW_BYTES = 1 << 24;

    private final Path target;
    private final Map<String, HeaderPlan.Placed> placed;
    private final Set<String> missing;
    private final PartialFile file;

    /**
     * Creates the temporary file and writes its header.
     *
     * @param target its directory exists
     * @param tensors names must be distinct; data is laid out in this order, wide dtypes first
     * @param metadata the entries of __metadata__; left out when empty
     */
    public SafetensorsWriter(Path target, List<TensorSpec> tensors, Map<String, String> metadata) {
        HeaderPlan plan = HeaderPlan.of(tensors, metadata);
        this.target = target;
        this.placed = plan.placed();
        this.missing = new LinkedHashSet<>(placed.keySet());
        this.file = new PartialFile(target);
        try {
            file.write(ByteBuffer.wrap(plan.prefix()), 0);
            file.extendTo(plan.bytes());
        } catch (IOException e) {
            close();
            throw OutputFiles.failure(target, e);
        }
    }

    /**
     * Writes one tensor's bytes; data.byteSize() must be the planned size. Safe to call from one thread at a time. Throws
     * IllegalArgumentException for a name that was not planned or is written already, or for another size.
     */
    public void write(String name, MemorySegment data) {
        HeaderPlan.Placed place = placed.get(name);
        if (place == null) {
            throw new IllegalArgumentException("tensor '" + name + "' was not planned for " + target);
        }
        if (data.byteSize() != place.spec().bytes()) {
            throw new IllegalArgumentException("tensor '" + name + "': expected " + place.spec().bytes() + " bytes for "
                    + place.spec().dtype() + " " + place.spec().shape() + ", found " + data.byteSize());
        }
        if (!missing.remove(name)) {
            throw new IllegalArgumentException("tensor '" + name + "' is written already");
        }
        try {
            writeSegment(data, place.position());
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
    }

    /** The file until finish(): it can be read as any other, with zeros in tensors that are not written yet. */
    public Path partial() {
        return file.path();
    }

    /** Syncs what was written so far, so that finish() finds little left to sync. */
    public void sync() {
        file.sync();
    }

    /** Syncs and renames to the target; throws UserError OUTPUT if a planned tensor was never written. */
    public void finish() {
        if (!missing.isEmpty()) {
            throw new UserError(Code.OUTPUT, target + ": expected " + placed.size() + " tensors, but " + missing.size()
                    + " were never written, the first is '" + missing.iterator().next() + "'; please report this");
        }
        file.finish();
    }

    /** Removes the temporary file unless finish() has run. */
    @Override
    public void close() {
        file.close();
    }

    private void writeSegment(MemorySegment data, long position) throws IOException {
        if (data.isNative()) {
            for (long at = 0; at < data.byteSize(); at += MAX_VIEW_BYTES) {
                long bytes = Math.min(MAX_VIEW_BYTES, data.byteSize() - at);
                file.write(data.asSlice(at, bytes).asByteBuffer(), position + at);
            }
            return;
        }
        ByteBuffer staging = ByteBuffer.allocateDirect((int) Math.min(STAGING_BYTES, data.byteSize()));
        for (long at = 0; at < data.byteSize(); at += staging.capacity()) {
            long bytes = Math.min(staging.capacity(), data.byteSize() - at);
            staging.clear().limit((int) bytes);
            MemorySegment.ofBuffer(staging).copyFrom(data.asSlice(at, bytes));
            file.write(staging, position + at);
        }
    }
}
