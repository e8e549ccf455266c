package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** The small operations of careful writing. Every failure is a UserError OUTPUT naming the path. */
public final class OutputFiles {

    private OutputFiles() {}

    /** The error for a failed write. */
    public static UserError failure(Path path, IOException e) {
        String message = String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT);
        String what = switch (e) {
            case AccessDeniedException denied ->
                "no permission to write; choose another place or change its permissions";
            case NoSuchFileException missing -> "its directory is missing or was removed while writing; run again";
            case FileAlreadyExistsException present ->
                "a file of that name is in the way; remove it or choose another name";
            case ClosedByInterruptException interrupted -> "writing was interrupted; run again";
            default -> message.contains("no space") || message.contains("not enough space")
                    ? "the disk is full; free some space or choose another disk"
                    : message.contains("quota")
                            ? "the disk quota is exceeded; free some space or choose another disk"
                            : message.contains("read-only")
                                    ? "the file system is read-only; choose another place"
                                    : "cannot be written (" + e + ")";
        };
        return new UserError(Code.OUTPUT, path + ": " + what, e);
    }

    /** What it means that something was read back other than it was written. */
    public static UserError damaged(Path written, String name) {
        return new UserError(Code.OUTPUT, name + ": what was read back from " + written
                + " is not what was written; the disk or its file system is damaged");
    }

    /** Writes a new file and syncs it to the disk. */
    public static void write(Path file, byte[] bytes) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            while (buffer.hasRemaining()) {
                channel.write(buffer);
            }
            channel.force(true);
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    /** Writes a file atomically: it has the old content or the new one, whatever ends the process. */
    public static void replace(Path file, byte[] bytes) {
        Path partial = file.resolveSibling("." + file.getFileName() + ".partial");
        try {
            Files.deleteIfExists(partial);
            write(partial, bytes);
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw failure(file, e);
        }
        syncDirectory(file.toAbsolutePath().resolveSibling("."));
    }

    /** Creates a directory and those above it that are missing. */
    public static void createDirectories(Path directory) {
        try {
            // Resolved, because a link to a directory is fine and createDirectories refuses it.
            if (!Files.isDirectory(directory)) {
                Files.createDirectories(directory);
            }
        } catch (IOException e) {
            throw failure(directory, e);
        }
    }

    /** Refuses output that would not fit; {@code directory} exists. */
    public static void requireSpace(Path directory, long bytes) {
        long free;
        try {
            free = Files.getFileStore(directory).getUsableSpace();
        } catch (IOException e) {
            throw failure(directory, e);
        }
        if (free < bytes) {
            throw new UserError(Code.OUTPUT, directory + ": expected " + megabytes(bytes) + " of free space, found "
                    + megabytes(free) + "; free some space or choose another disk");
        }
    }

    /** Syncs all files under a directory, and the directories, so that a rename of it survives a power cut. */
    public static void syncTree(Path directory) throws IOException {
        Files.walkFileTree(directory, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
                    channel.force(true);
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path visited, @Nullable IOException e) throws IOException {
                if (e != null) {
                    throw e;
                }
                syncDirectory(visited);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    /** Syncs the entries of a directory. */
    @SuppressWarnings("EmptyCatch") // see the comment in it
    public static void syncDirectory(Path directory) {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        } catch (IOException unsupported) {
            // Windows and some network file systems cannot sync a directory; they order renames themselves.
        }
    }

    /** Deletes a directory and all in it, or a single file; links are removed, not followed. */
    public static void deleteTree(Path root) throws IOException {
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.deleteIfExists(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path file, IOException e) throws IOException {
                if (e instanceof NoSuchFileException) {
                    return FileVisitResult.CONTINUE;
                }
                throw e;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path directory, @Nullable IOException e) throws IOException {
                try {
                    Files.deleteIfExists(directory);
                } catch (DirectoryNotEmptyException stillWritten) {
                    // A file appeared during the walk: a thread was still writing when the process was told to stop.
                    deleteTree(directory);
                }
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%,.1f MB", bytes / 1e6);
    }
}
