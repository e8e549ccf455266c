package dev.optgptq.formats.natives;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipal;
import java.util.Set;

/**
 * A folder of code that this process will run: nobody else may write to it, and a file in it is complete or absent. A
 * folder or file of another user, or a link in its place, is refused.
 *
 * @param path where it is
 */
public record PrivateFolder(Path path) {

    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rwx------");

    /**
     * Creates the folder, or uses an existing one of ours, whose permissions are restricted to the owner.
     *
     * @throws IOException when it cannot be made, or is not a folder of ours; the message names it
     */
    public static PrivateFolder at(Path path) throws IOException {
        Path absolute = path.toAbsolutePath();
        Path parent = absolute.getParent();
        if (parent != null) {
            Files.createDirectories(parent);
        }
        try {
            Files.createDirectory(absolute);
        } catch (FileAlreadyExistsException present) {
            requireFolder(absolute);
        }
        PosixFileAttributeView view = Files.getFileAttributeView(absolute, PosixFileAttributeView.class,
                LinkOption.NOFOLLOW_LINKS);
        if (view != null) {
            requireOurs(absolute, view.readAttributes(), absolute);
            if (!view.readAttributes().permissions().equals(OWNER_ONLY)) {
                view.setPermissions(OWNER_ONLY);
            }
        }
        return new PrivateFolder(absolute);
    }

    private static void requireFolder(Path path) throws IOException {
        if (!Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
            throw new IOException(path + ": expected a folder, found "
                    + (Files.isSymbolicLink(path) ? "a link" : "something else") + "; remove it");
        }
    }

    /** Whether there is a file of ours of that name: regular, not a link, and writable by nobody else. */
    public boolean holds(String name) throws IOException {
        Path file = path.resolve(name);
        if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            return false;
        }
        PosixFileAttributeView view = Files.getFileAttributeView(file, PosixFileAttributeView.class,
                LinkOption.NOFOLLOW_LINKS);
        if (view == null) {
            return Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS);
        }
        PosixFileAttributes attributes = view.readAttributes();
        return attributes.isRegularFile() && isOurs(attributes, path)
                && !attributes.permissions().contains(PosixFilePermission.GROUP_WRITE)
                && !attributes.permissions().contains(PosixFilePermission.OTHERS_WRITE);
    }

    /** Writes a file atomically, synced before the rename; an existing file or link of that name is replaced. */
    public void put(String name, Content content) throws IOException {
        // Another process may write the same at the same time: each has its own file, and a rename is all or nothing.
        Path part = Files.createTempFile(path, name, ".part");
        try {
            try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
                content.writeTo(channel);
                channel.force(true);
            }
            Files.move(part, path.resolve(name), StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
    }

    /** The content of a file. */
    @FunctionalInterface
    public interface Content {
        void writeTo(FileChannel channel) throws IOException;
    }

    private static void requireOurs(Path path, PosixFileAttributes attributes, Path folder) throws IOException {
        if (!isOurs(attributes, folder)) {
            throw new IOException(path + ": expected a folder of this user, found one of " + attributes.owner()
                    + "; name another with " + CacheFolder.VARIABLE);
        }
    }

    private static boolean isOurs(PosixFileAttributes attributes, Path folder) throws IOException {
        Path self = Path.of("/proc/self");
        return (Files.exists(self) && attributes.owner().equals(Files.getOwner(self)))
                || attributes.owner().equals(ownerOfNewFiles(folder));
    }

    /** Some network file systems map every user to another. */
    private static UserPrincipal ownerOfNewFiles(Path folder) throws IOException {
        Path probe = Files.createTempFile(folder, "owner", ".part");
        try {
            return Files.getOwner(probe, LinkOption.NOFOLLOW_LINKS);
        } finally {
            Files.deleteIfExists(probe);
        }
    }
}
