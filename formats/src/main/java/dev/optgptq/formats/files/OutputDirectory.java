package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Iterator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A directory that appears complete or not at all. Its files are written to a hidden sibling, ".NAME.partial-PID", which
 * commit() renames to the target; close() without commit() deletes the sibling, and so does a shutdown hook on Ctrl-C.
 */
public final class OutputDirectory implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(OutputDirectory.class.getName());

    private final Path parent;
    private final Path target;
    private final boolean overwrite;
    private final String marker;
    private final Path work;
    private final Thread hook;
    private boolean done;

    /**
     * @param target must not exist unless overwrite; directories above it are created
     * @param overwrite whether an existing target is replaced; only one that is empty or holds the marker is
     * @param marker name of a file that every directory of this kind holds
     * @param bytes what will be written at least; refused when the disk has less
     */
    public OutputDirectory(Path target, boolean overwrite, String marker, long bytes) {
        this.target = target.toAbsolutePath().normalize();
        this.overwrite = overwrite;
        this.marker = marker;
        this.parent = parentOf(this.target);
        requireReplaceable();
        OutputFiles.createDirectories(parent);
        OutputFiles.requireSpace(parent, bytes);
        this.work = createSibling("partial");
        this.hook = new Thread(this::discardOnShutdown, "discard " + work.getFileName());
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** Where the files go until commit(). */
    public Path work() {
        return work;
    }

    /** Syncs everything and renames it to the target; an old target goes only after that has worked. */
    public synchronized void commit() {
        if (done) {
            throw new UserError(Code.OUTPUT, target + ": the run was stopped; nothing was written");
        }
        requireReplaceable();
        try {
            OutputFiles.syncTree(work);
            Path replaced = moveAside();
            try {
                Files.move(work, target, StandardCopyOption.ATOMIC_MOVE);
            } catch (IOException e) {
                if (replaced != null) {
                    Files.move(replaced, target, StandardCopyOption.ATOMIC_MOVE);
                }
                throw e;
            }
            done = true;
            removeHook();
            OutputFiles.syncDirectory(parent);
            if (replaced != null) {
                OutputFiles.deleteTree(replaced);
            }
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
    }

    /** Deletes what was written unless commit() has run. */
    @Override
    public void close() {
        discard();
        removeHook();
    }

    private void discardOnShutdown() {
        try {
            discard();
        } catch (UserError e) {
            LOG.log(System.Logger.Level.WARNING, "left behind: {0}", e.getMessage());
        }
    }

    private synchronized void discard() {
        if (done) {
            return;
        }
        done = true;
        try {
            OutputFiles.deleteTree(work);
        } catch (IOException e) {
            throw OutputFiles.failure(work, e);
        }
    }

    @SuppressWarnings("EmptyCatch") // see the comment in it
    private void removeHook() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException stopping) {
            // The JVM is stopping: the hook runs already, and finds nothing left to do.
        }
    }

    private void requireReplaceable() {
        if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        if (!overwrite) {
            throw new UserError(Code.OUTPUT, target + ": expected nothing there, found "
                    + (Files.isDirectory(target) ? "a directory" : "a file")
                    + "; choose another output or replace it with --overwrite");
        }
        if (!Files.isDirectory(target) || (!Files.exists(target.resolve(marker)) && !isEmpty(target))) {
            throw new UserError(Code.OUTPUT, target + ": expected a model directory to overwrite, found "
                    + (Files.isDirectory(target) ? "a directory without " + marker : "a file")
                    + "; it is left alone, choose another output or remove it yourself");
        }
    }

    private static boolean isEmpty(Path directory) {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.findAny().isEmpty();
        } catch (IOException e) {
            throw OutputFiles.failure(directory, e);
        }
    }

    /** Renames an old target out of the way; null when there is none. */
    private @Nullable Path moveAside() throws IOException {
        if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            return null;
        }
        Path aside = siblings("replaced").filter(path -> !Files.exists(path, LinkOption.NOFOLLOW_LINKS)).findFirst()
                .orElseThrow();
        Files.move(target, aside, StandardCopyOption.ATOMIC_MOVE);
        return aside;
    }

    private Path createSibling(String kind) {
        Iterator<Path> candidates = siblings(kind).iterator();
        while (true) {
            try {
                return Files.createDirectory(candidates.next());
            } catch (FileAlreadyExistsException e) {
                LOG.log(System.Logger.Level.DEBUG, "{0} is taken", e.getFile());
            } catch (IOException e) {
                throw OutputFiles.failure(parent, e);
            }
        }
    }

    /** Names to try: the process id tells users whose it is, but containers all count from 1, so that it may be taken. */
    private Stream<Path> siblings(String kind) {
        String name = "." + target.getFileName() + "." + kind + "-" + ProcessHandle.current().pid();
        return IntStream.iterate(1, n -> n + 1).mapToObj(n -> parent.resolve(n == 1 ? name : name + "-" + n));
    }

    private static Path parentOf(Path target) {
        Path parent = target.getParent();
        if (parent == null) {
            throw new UserError(Code.OUTPUT, target + ": expected a directory that can be created, found the root of a"
                    + " file system; name a directory in it");
        }
        return parent;
    }
}
