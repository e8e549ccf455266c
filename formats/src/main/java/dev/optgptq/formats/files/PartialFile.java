package dev.optgptq.formats.files;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * A file that is written beside its target and renamed when it is complete: an older file of that name stays until
 * then. Writes throw the channel's exceptions; all else is UserError OUTPUT naming the target.
 */
public final class PartialFile implements AutoCloseable {

    private final Path target;
    private final Path partial;
    private final FileChannel channel;

    /** @param target its directory exists */
    public PartialFile(Path target) {
        this.target = target;
        this.partial = target.resolveSibling("." + target.getFileName() + ".partial-" + ProcessHandle.current().pid());
        try {
            Files.deleteIfExists(partial);
            this.channel = FileChannel.open(partial, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
    }

    /** Writes all that remains in the buffer, at that position of the file. */
    public void write(ByteBuffer buffer, long position) throws IOException {
        long at = position;
        while (buffer.hasRemaining()) {
            at += channel.write(buffer, at);
        }
    }

    /** Where it is until finish(). */
    public Path path() {
        return partial;
    }

    /** Makes it as long as it will be, with zeros in what is not written yet. */
    public void extendTo(long bytes) throws IOException {
        if (channel.size() < bytes) {
            write(ByteBuffer.wrap(new byte[1]), bytes - 1);
        }
    }

    /** Syncs what was written so far, so that finish() finds little left to sync. */
    public void sync() {
        try {
            channel.force(false);
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
    }

    /** Syncs and renames to the target. */
    public void finish() {
        try {
            channel.force(true);
            channel.close();
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
        OutputFiles.syncDirectory(target.toAbsolutePath().resolveSibling("."));
    }

    /** Removes the file unless finish() has run. */
    @Override
    public void close() {
        try {
            channel.close();
            Files.deleteIfExists(partial);
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
    }
}
