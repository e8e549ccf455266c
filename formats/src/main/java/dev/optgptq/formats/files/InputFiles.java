package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;

/**
 * Opens untrusted files. Only regular files: reading a pipe could block forever, a device never ends. Dangling links
 * and Git LFS pointers are reported as such.
 */
public final class InputFiles {

    /** How each pointer begins (git-lfs/docs/spec.md, "The Pointer"). */
    private static final byte[] LFS_POINTER = "version https://git-lfs.github.com/spec/"
            .getBytes(StandardCharsets.US_ASCII);

    private InputFiles() {}

    /** True if something has that name, even a dangling link. */
    public static boolean isThere(Path file) {
        return Files.exists(file, LinkOption.NOFOLLOW_LINKS);
    }

    /**
     * Throws UserError of that code unless it is a regular file with its own content; the message tells what it is.
     */
    public static void requireContent(Path file, Code code) {
        requireRegular(file, code);
        try (InputStream stream = Files.newInputStream(file)) {
            requireNoPointer(file, stream.readNBytes(LFS_POINTER.length), code);
        } catch (IOException e) {
            throw unreadable(file, e, code);
        }
    }

    /** A channel for reading it. Throws UserError of that code as requireContent() does. */
    public static FileChannel open(Path file, Code code) {
        requireContent(file, code);
        try {
            return FileChannel.open(file, StandardOpenOption.READ);
        } catch (IOException e) {
            throw unreadable(file, e, code);
        }
    }

    /** The whole of a file of at most that many bytes. Throws UserError of that code, also for a larger one. */
    public static byte[] read(Path file, long maxBytes, Code code) {
        try (FileChannel channel = open(file, code)) {
            if (channel.size() > maxBytes) {
                throw new UserError(code, file + ": expected at most " + maxBytes + " bytes in a file of this name,"
                        + " found " + channel.size() + "; this is not the file its name says");
            }
            ByteBuffer bytes = ByteBuffer.allocate((int) channel.size());
            int read;
            do {
                read = channel.read(bytes);
            } while (read > 0);
            return Arrays.copyOf(bytes.array(), bytes.position());
        } catch (IOException e) {
            throw unreadable(file, e, code);
        }
    }

    private static void requireRegular(Path file, Code code) {
        if (!Files.exists(file)) {
            throw Files.isSymbolicLink(file)
                    ? new UserError(code, file + ": the link leads to " + linkTarget(file, code) + ", which is not"
                            + " there; fetch the file that it stands for, or copy the model with its links resolved")
                    : new UserError(code, file + ": the file is missing; check the path, or fetch the model again");
        }
        BasicFileAttributes attributes;
        try {
            attributes = Files.readAttributes(file, BasicFileAttributes.class);
        } catch (IOException e) {
            throw unreadable(file, e, code);
        }
        if (!attributes.isRegularFile()) {
            throw new UserError(code, file + ": expected a file, found "
                    + (attributes.isDirectory() ? "a directory" : "a pipe, a socket or a device")
                    + "; check the path, or fetch the model again");
        }
    }

    /** The target as written in the link. */
    public static Path linkTarget(Path link, Code code) {
        try {
            return Files.readSymbolicLink(link);
        } catch (IOException e) {
            throw unreadable(link, e, code);
        }
    }

    private static void requireNoPointer(Path file, byte[] start, Code code) {
        if (Arrays.equals(start, LFS_POINTER)) {
            throw new UserError(code, file + ": expected the file itself, found a Git LFS pointer to it; run 'git lfs"
                    + " pull' in the repository, or fetch the model another way");
        }
    }

    /** The error for a failed read. */
    public static UserError unreadable(Path file, IOException e, Code code) {
        return new UserError(code, file + ": cannot be read (" + e + "); check that it is a readable file", e);
    }
}
