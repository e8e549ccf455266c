package dev.optgptq.formats.model;

import dev.optgptq.formats.safetensors.TensorSpec;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import tools.jackson.databind.JsonNode;

/**
 * Writes a model directory as a stream: plans shards from the specs, writes tensors as they come, then index, config
 * and companions. Everything goes to a temporary sibling directory that is renamed to the target by finish(); close()
 * without finish() leaves nothing behind, also on Ctrl-C.
 */
public final class CheckpointWriter implements AutoCloseable {

    /** Default limit of a shard: 4 GB, as other tools use. */
    public static final long DEFAULT_SHARD_BYTES = 4_000_000_000L;

    /**
     * @param target must not exist unless overwrite; replaced as a whole on finish()
     * @param tensors in the order of the files; shards are filled in this order
     */
    public CheckpointWriter(Path target, List<TensorSpec> tensors, long maxShardBytes, boolean overwrite) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The temporary directory, for further files (reports, companions). */
    public Path workDirectory() {
        throw new UnsupportedOperationException("not written yet");
    }

    public void write(String name, MemorySegment data) {
        throw new UnsupportedOperationException("not written yet");
    }

    public void writeJson(String fileName, JsonNode json) {
        throw new UnsupportedOperationException("not written yet");
    }

    public void copy(Path companion) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Closes every shard; the tensors can now be read back from workDirectory(). */
    public void finishTensors() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Renames the directory to its target. */
    public void finish() {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException("not written yet");
    }
}
