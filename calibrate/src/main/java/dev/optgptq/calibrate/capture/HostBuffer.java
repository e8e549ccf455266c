package dev.optgptq.calibrate.capture;

import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Set;

/**
 * Host memory outside the Java heap, or a mapped temporary file above a limit. Where the system allows it (Unix), the
 * file is unlinked as soon as it is open, so that nothing is left behind, whatever ends the program.
 */
public final class HostBuffer implements AutoCloseable {

    private static final int CHUNK = 1 << 22;
    private static final long ALIGNMENT = 64;

    private final Arena arena = Arena.ofShared();
    private final boolean spilled;
    private final MemorySegment memory;

    /**
     * @param bytes its size; the contents start as zero
     * @param memoryLimit bytes above which a file is used
     */
    public HostBuffer(long bytes, long memoryLimit) {
        spilled = bytes > memoryLimit;
        try {
            memory = spilled ? map(bytes) : arena.allocate(bytes, ALIGNMENT);
        } catch (IOException e) {
            arena.close();
            throw new UserError(UserError.Code.OUTPUT, "cannot keep " + bytes + " bytes in a temporary file under "
                    + System.getProperty("java.io.tmpdir") + ": " + e.getMessage()
                    + "; free some space, or name another folder with -Djava.io.tmpdir", e);
        } catch (OutOfMemoryError e) {
            arena.close();
            throw new UserError(UserError.Code.MEMORY,
                    "cannot allocate " + bytes + " bytes outside the Java heap: " + e.getMessage(), e);
        }
    }

    public MemorySegment memory() {
        return memory;
    }

    /** Whether it is in a temporary file. */
    public boolean spilled() {
        return spilled;
    }

    @Override
    public void close() {
        arena.close();
    }

    private MemorySegment map(long bytes) throws IOException {
        Path file = Files.createTempFile("opt-gptq-", ".activations");
        try (FileChannel channel = FileChannel.open(file, Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE,
                StandardOpenOption.DELETE_ON_CLOSE))) {
            reserve(channel, bytes);
            return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena);
        }
    }

    /** Writes the whole file once: a page that the disk has no room for would otherwise fail later, inside a copy. */
    private static void reserve(FileChannel channel, long bytes) throws IOException {
        ByteBuffer zeros = ByteBuffer.allocateDirect(CHUNK);
        for (long written = 0; written < bytes;) {
            zeros.clear().limit((int) Math.min(CHUNK, bytes - written));
            written += channel.write(zeros, written);
        }
    }
}
