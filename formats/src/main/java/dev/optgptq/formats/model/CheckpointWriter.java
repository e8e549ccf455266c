package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ShardPlan.Shard;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * Writes a model directory as a stream: plans shards from the specs, writes tensors as they come, then index, config
 * and companions. Everything goes to a temporary sibling directory that is renamed to the target by finish(); close()
 * without finish() deletes it, also on Ctrl-C. Failures to write are UserError OUTPUT naming the path.
 */
public final class CheckpointWriter implements AutoCloseable {

    /** Default limit of a shard: 4 GB, as other tools use. */
    public static final long DEFAULT_SHARD_BYTES = 4_000_000_000L;

    /** What files are for, where nothing else is said: transformers refuses a file that says nothing. */
    private static final String PYTORCH = "pt";

    private final ShardPlan plan;
    private final Map<String, String> metadata;
    private final OutputDirectory directory;
    private final boolean ownsDirectory;
    private final Map<String, OpenShard> shardOf = new HashMap<>();
    private final Map<String, OpenShard> unfinished = new LinkedHashMap<>();

    /**
     * @param target must not exist unless overwrite; replaced as a whole on finish(), which needs it to be empty or written
     *     by us; directories above it are created
     * @param tensors in the order of the files; shards are filled in this order
     * @throws UserError OUTPUT also when the disk has no room for the tensors
     */
    public CheckpointWriter(Path target, List<TensorSpec> tensors, long maxShardBytes, boolean overwrite) {
        this(target, tensors, maxShardBytes, overwrite, PYTORCH);
    }

    /** The same of files for another framework: its name in their metadata. */
    public CheckpointWriter(Path target, List<TensorSpec> tensors, long maxShardBytes, boolean overwrite,
            String framework) {
        this(ShardPlan.of(tensors, maxShardBytes), framework, () -> directory(target, overwrite), true);
        try {
            directory.clear();
            directory.requireSpace(plan.totalBytes());
        } catch (RuntimeException e) {
            directory.close();
            throw e;
        }
    }

    /**
     * Writes into a directory that its owner prepared with {@link #directory} and closes after this writer; room for the
     * tensors is the owner's to check.
     */
    public CheckpointWriter(OutputDirectory directory, List<TensorSpec> tensors, long maxShardBytes) {
        this(directory, tensors, maxShardBytes, PYTORCH);
    }

    /** The same of files for another framework: its name in their metadata. */
    public CheckpointWriter(OutputDirectory directory, List<TensorSpec> tensors, long maxShardBytes, String framework) {
        this(ShardPlan.of(tensors, maxShardBytes), framework, () -> directory, false);
    }

    private CheckpointWriter(ShardPlan plan, String framework, Supplier<OutputDirectory> directory,
            boolean ownsDirectory) {
        this.plan = plan;
        this.metadata = Map.of("format", framework);
        for (Shard shard : plan.shards()) {
            OpenShard open = new OpenShard(shard);
            unfinished.put(shard.fileName(), open);
            for (TensorSpec tensor : shard.tensors()) {
                if (shardOf.put(tensor.name(), open) != null) {
                    throw new IllegalArgumentException("tensor '" + tensor.name() + "' is planned twice");
                }
            }
        }
        this.directory = directory.get();
        this.ownsDirectory = ownsDirectory;
    }

    /** Where a checkpoint can be written in several runs: see OutputDirectory. */
    public static OutputDirectory directory(Path target, boolean overwrite) {
        return new OutputDirectory(target, overwrite);
    }

    /** The temporary directory, for further files (reports, companions). */
    public Path workDirectory() {
        return directory.work();
    }

    /**
     * Writes one tensor. Throws IllegalArgumentException for a name that was not planned or is written already, or for
     * another size than planned.
     */
    public void write(String name, MemorySegment data) {
        OpenShard shard = shardOf.get(name);
        if (shard == null) {
            throw new IllegalArgumentException("tensor '" + name + "' was not planned");
        }
        shard.write(name, data);
    }

    /**
     * Syncs the tensors that were written so far: spread over a run, that costs less than syncing everything at the
     * end.
     */
    public void sync() {
        unfinished.values().forEach(OpenShard::sync);
    }

    /**
     * What is in the files so far, as a reader finds it: tensors that are not written yet are zeros there. The caller closes it.
     */
    public WrittenTensors readBack() {
        return WrittenTensors
                .open(shardOf.values().stream().distinct().flatMap(shard -> shard.file().stream()).toList());
    }

    /** Writes a JSON file in place of the one of that name. */
    public void replaceJson(String fileName, JsonNode json) {
        Path file = directory.work().resolve(fileName);
        try {
            Files.delete(file);
        } catch (IOException e) {
            throw OutputFiles.failure(file, e);
        }
        writeJson(fileName, json);
    }

    /** Writes a JSON file beside the tensors, indented. */
    public void writeJson(String fileName, JsonNode json) {
        OutputFiles.write(directory.work().resolve(fileName), Json.toBytes(json));
    }

    /** Writes any file beside the tensors. */
    public void writeFile(String fileName, byte[] bytes) {
        OutputFiles.write(directory.work().resolve(fileName), bytes);
    }

    /** Copies a file of the source model to the same place in this one. */
    public void copy(Companion companion) {
        Path copy = directory.work().resolve(companion.name());
        try (FileChannel content = InputFiles.open(companion.file(), Code.BAD_MODEL);
                InputStream stream = Channels.newInputStream(content)) {
            OutputFiles.createDirectories(copy.resolveSibling("."));
            try {
                Files.copy(stream, copy);
            } catch (IOException e) {
                throw OutputFiles.failure(copy, e);
            }
        } catch (IOException e) {
            throw InputFiles.unreadable(companion.file(), e, Code.BAD_MODEL);
        }
    }

    /**
     * Closes every shard and writes the index; the tensors can now be read back from workDirectory(). Throws UserError
     * OUTPUT naming a tensor that was never written.
     */
    public void finishTensors() {
        for (OpenShard shard : List.copyOf(unfinished.values())) {
            shard.finish();
        }
        Path index = directory.work().resolve(ShardIndex.FILE_NAME);
        if (plan.shards().size() > 1 && !Files.exists(index)) {
            OutputFiles.write(index, Json.toBytes(plan.index().toJson(plan.totalBytes())));
        }
    }

    /** Finishes the tensors if that is not done yet, and renames the directory to its target. */
    public void finish() {
        finishTensors();
        directory.commit();
    }

    @Override
    public void close() {
        unfinished.values().forEach(OpenShard::close);
        if (ownsDirectory) {
            directory.close();
        }
    }

    /** A shard being written: its file is open from its first tensor to its last. */
    private final class OpenShard {

        private final Shard shard;
        private @Nullable SafetensorsWriter writer;
        private int unwritten;

        OpenShard(Shard shard) {
            this.shard = shard;
            this.unwritten = shard.tensors().size();
        }

        void write(String name, MemorySegment data) {
            if (unwritten == 0) {
                throw new IllegalArgumentException("tensor '" + name + "' is written already");
            }
            writer().write(name, data);
            unwritten--;
            if (unwritten == 0) {
                finish();
            }
        }

        /** Empty before its first tensor. */
        Optional<Path> file() {
            SafetensorsWriter begun = writer;
            return begun == null
                    ? Optional.empty()
                    : Optional.of(unwritten > 0 ? begun.partial() : directory.work().resolve(shard.fileName()));
        }

        void sync() {
            if (writer != null) {
                writer.sync();
            }
        }

        void finish() {
            writer().finish();
            unfinished.remove(shard.fileName());
        }

        void close() {
            if (writer != null) {
                writer.close();
            }
        }

        private SafetensorsWriter writer() {
            if (writer == null) {
                writer = new SafetensorsWriter(directory.work().resolve(shard.fileName()), shard.tensors(), metadata);
            }
            return writer;
        }
    }
}
