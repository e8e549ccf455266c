package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Holds a directory for one process: an operating system lock on a file in it, which ends with the process in any case,
 * so that a killed run never blocks a directory.
 */
final class DirectoryLock implements AutoCloseable {

    /** Marks a directory as one of ours, too. */
    static final String FILE = "lock";

    private static final System.Logger LOG = System.getLogger(DirectoryLock.class.getName());

    private final FileChannel channel;
    /** Null if the file system has no locks. Kept in a field, because the JVM drops unreferenced locks. */
    @SuppressWarnings("UnusedVariable")
    private final @Nullable FileLock held;

    private DirectoryLock(FileChannel channel, @Nullable FileLock held) {
        this.channel = channel;
        this.held = held;
    }

    /**
     * Creates the directory if it is missing, and locks it. Throws UserError OUTPUT when another process holds it, or
     * when it is not empty and not ours.
     *
     * @param target the final output; messages name it
     */
    static DirectoryLock acquire(Path directory, Path target) {
        while (true) {
            createDirectory(directory);
            DirectoryLock lock = tryAcquire(directory, target);
            if (lock != null) {
                return lock;
            }
        }
    }

    /** Null when its last owner deleted the directory meanwhile. */
    private static @Nullable DirectoryLock tryAcquire(Path directory, Path target) {
        Path file = directory.resolve(FILE);
        Object key = key(file);
        FileChannel channel;
        try {
            channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE,
                    LinkOption.NOFOLLOW_LINKS);
        } catch (NoSuchFileException deleted) {
            return null;
        } catch (IOException e) {
            throw Files.isSymbolicLink(file)
                    ? notOurs(directory, "a link as '" + FILE + "'")
                    : OutputFiles.failure(file, e);
        }
        try {
            FileLock held = lock(channel, file, target);
            // A file that its owner deleted can still be locked, and protects nothing.
            if (key != null && Objects.equals(key, key(file))) {
                describe(channel);
                return new DirectoryLock(channel, held);
            }
            channel.close();
            return null;
        } catch (IOException e) {
            closeQuietly(channel);
            throw OutputFiles.failure(file, e);
        } catch (RuntimeException e) {
            closeQuietly(channel);
            throw e;
        }
    }

    private static @Nullable FileLock lock(FileChannel channel, Path file, Path target) {
        try {
            FileLock held = channel.tryLock();
            if (held == null) {
                throw busy(target, "another run (" + owner(file) + ")");
            }
            return held;
        } catch (OverlappingFileLockException e) {
            // Closing this channel ends the lock for other processes on POSIX systems; the JVM itself still knows it.
            throw busy(target, "another run of this process");
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "{0} cannot be locked ({1}): do not start a second run with the "
                    + "same output",
                    file, e.getMessage());
            return null;
        }
    }

    private static UserError busy(Path target, String who) {
        return new UserError(Code.OUTPUT, target + ": " + who + " is writing it; wait until it has ended, or choose"
                + " another output");
    }

    private static void describe(FileChannel channel) throws IOException {
        String owner = "process " + ProcessHandle.current().pid() + ", since "
                + Instant.now().truncatedTo(ChronoUnit.SECONDS);
        channel.truncate(0);
        channel.write(ByteBuffer.wrap(owner.getBytes(StandardCharsets.UTF_8)), 0);
    }

    private static String owner(Path file) {
        try {
            return Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)
                    ? Files.readString(file)
                    : "of an unknown process";
        } catch (IOException unreadable) {
            return "of an unknown process";
        }
    }

    private static void createDirectory(Path directory) {
        try {
            Files.createDirectory(directory);
        } catch (FileAlreadyExistsException present) {
            requireOurs(directory);
        } catch (IOException e) {
            throw OutputFiles.failure(directory, e);
        }
    }

    private static void requireOurs(Path directory) {
        if (!Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)) {
            throw notOurs(directory, "something else");
        }
        try (Stream<Path> entries = Files.list(directory)) {
            if (!Files.exists(directory.resolve(FILE)) && entries.findAny().isPresent()) {
                throw notOurs(directory, "a directory without '" + FILE + "'");
            }
        } catch (NoSuchFileException deleted) {
            LOG.log(System.Logger.Level.DEBUG, "{0} was deleted by its owner", directory);
        } catch (IOException e) {
            throw OutputFiles.failure(directory, e);
        }
    }

    private static UserError notOurs(Path directory, String found) {
        return new UserError(Code.OUTPUT, directory + ": expected nothing there, or the files of an earlier run, found "
                + found + "; it is left alone, rename it or choose another output");
    }

    /** Distinguishes a file from a later one of the same name; null if it is missing. */
    private static @Nullable Object key(Path file) {
        try {
            Object key = Files.readAttributes(file, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS).fileKey();
            return key == null ? file : key;
        } catch (IOException missing) {
            return null;
        }
    }

    /** Also ends the lock. */
    @Override
    public void close() {
        closeQuietly(channel);
    }

    private static void closeQuietly(FileChannel channel) {
        try {
            channel.close();
        } catch (IOException e) {
            LOG.log(System.Logger.Level.DEBUG, "a lock file could not be closed", e);
        }
    }
}
