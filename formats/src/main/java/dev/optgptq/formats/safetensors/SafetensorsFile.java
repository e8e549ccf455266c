package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel.MapMode;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

/** A safetensors file, mapped into memory as one segment of any size, and never read completely. */
public final class SafetensorsFile implements AutoCloseable {

    private final Arena arena;
    private final SequencedMap<String, TensorView> tensors;
    private final Map<String, String> metadata;

    private SafetensorsFile(Arena arena, SequencedMap<String, TensorView> tensors, Map<String, String> metadata) {
        this.arena = arena;
        this.tensors = tensors;
        this.metadata = metadata;
    }

    /** Opens and validates a file; throws UserError BAD_MODEL naming what is wrong. */
    @SuppressWarnings("MustBeClosedChecker") // closed by close(), and below when opening fails
    public static SafetensorsFile open(Path path) {
        // Shared: rows of a tensor are read by many threads.
        Arena arena = Arena.ofShared();
        try {
            MemorySegment file = map(path, arena);
            SafetensorsHeader header = SafetensorsHeader.parse(file, path.toString());
            MemorySegment data = file.asSlice(header.dataStart());
            SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
            header.tensors().forEach((name, entry) -> tensors.put(name, new TensorView(name, entry.dtype(),
                    entry.shape(), data.asSlice(entry.begin(), entry.end() - entry.begin()), path)));
            return new SafetensorsFile(arena, Collections.unmodifiableSequencedMap(tensors), header.metadata());
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    private static MemorySegment map(Path path, Arena arena) {
        try (FileChannel channel = InputFiles.open(path, Code.BAD_MODEL)) {
            return channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
        } catch (IOException e) {
            throw InputFiles.unreadable(path, e, Code.BAD_MODEL);
        }
    }

    /** The tensors by name, in the order of their data. */
    public SequencedMap<String, TensorView> tensors() {
        return tensors;
    }

    /** The entries of __metadata__, empty when there are none. */
    public Map<String, String> metadata() {
        return metadata;
    }

    /** Unmaps the file; every TensorView of it becomes unusable. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
