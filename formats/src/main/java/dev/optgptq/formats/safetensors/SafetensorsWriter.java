package dev.optgptq.formats.safetensors;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * Writes one safetensors file as a stream: the header is planned from the specs, the data follows in any order of the
 * names, and close() refuses a file with tensors missing. Written to a temporary file beside the target, synced, then
 * renamed.
 */
public final class SafetensorsWriter implements AutoCloseable {

    public SafetensorsWriter(Path target, List<TensorSpec> tensors, Map<String, String> metadata) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Writes one tensor's bytes; data.byteSize() must be the planned size. Safe to call from one thread at a time. */
    public void write(String name, MemorySegment data) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Syncs and renames to the target; throws UserError OUTPUT if a planned tensor was never written. */
    public void finish() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Removes the temporary file unless finish() has run. */
    @Override
    public void close() {
        throw new UnsupportedOperationException("not written yet");
    }
}
