package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;

/**
 * A directory that appears complete or not at all. Everything happens in a hidden sibling, ".NAME.partial", which belongs
 * to one process at a time: the target is built in a folder of it, which commit() renames to the target. Other files in
 * the sibling can outlive the process, so that a later one can resume: see keep(). Without that, close() without
 * commit() deletes the sibling, and so does a shutdown hook on Ctrl-C.
 */
public final class OutputDirectory implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(OutputDirectory.class.getName());
    /** Where the target is built. */
    private static final String COMPLETE = "complete";
    /** An old target, between its removal and the renaming of the new one. */
    private static final String REPLACED = "replaced";

    private enum State {
        OPEN, COMMITTING, CLOSED
    }

    private final Path parent;
    private final Path target;
    private final OutputTarget replaceable;
    private final Path path;
    private final DirectoryLock lock;
    private final Thread hook;
    private final AtomicReference<State> state = new AtomicReference<>(State.OPEN);
    private volatile boolean kept;

    /**
     * Throws UserError OUTPUT when another process writes the same target.
     *
     * @param target must not exist unless overwrite; directories above it are created. A link is followed and stays:
     *     its destination is the target
     * @param overwrite whether an existing target is replaced; only one that is empty or that bears our mark is, and holds
     *     nothing that we did not write
     */
    public OutputDirectory(Path target, boolean overwrite) {
        OutputTarget resolved = OutputTarget.of(target, overwrite);
        this.replaceable = resolved;
        this.target = resolved.path();
        this.parent = resolved.parent();
        this.path = parent.resolve("." + this.target.getFileName() + ".partial");
        resolved.require();
        OutputFiles.createDirectories(parent);
        this.lock = DirectoryLock.acquire(path, this.target);
        try {
            restoreReplaced();
            replaceable.require();
            recreate(work());
            this.kept = holdsMore();
        } catch (RuntimeException e) {
            lock.close();
            throw e;
        }
        this.hook = new Thread(this::discardOnShutdown, "discard " + path.getFileName());
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** The hidden sibling, with what a predecessor kept. */
    public Path path() {
        return path;
    }

    /** Where the target's files go until commit(); initially empty. */
    public Path work() {
        return path.resolve(COMPLETE);
    }

    private boolean holdsMore() {
        try (Stream<Path> entries = Files.list(path)) {
            return entries.anyMatch(entry -> !entry.endsWith(DirectoryLock.FILE) && !entry.endsWith(COMPLETE));
        } catch (IOException e) {
            throw OutputFiles.failure(path, e);
        }
    }

    /** Deletes what a predecessor kept. */
    public void clear() {
        kept = false;
        try {
            deleteContents();
        } catch (IOException e) {
            throw OutputFiles.failure(path, e);
        }
        recreate(work());
    }

    /** Throws UserError OUTPUT when the disk has less room than that. */
    public void requireSpace(long bytes) {
        OutputFiles.requireSpace(parent, bytes);
    }

    /**
     * Whether the files beside work() are worth keeping if the process ends now; initially, whether a predecessor kept
     * any. Throws UserError OUTPUT when the process is ending already.
     */
    public void keep(boolean worthIt) {
        if (state.get() == State.CLOSED) {
            throw stopped();
        }
        kept = worthIt;
    }

    /** Syncs everything and renames it to the target; an old target is deleted only after that succeeded. */
    public void commit() {
        if (!state.compareAndSet(State.OPEN, State.COMMITTING)) {
            throw stopped();
        }
        boolean done = false;
        try {
            replaceable.require();
            OutputMark.put(work());
            OutputFiles.syncTree(work());
            moveIntoPlace();
            done = true;
            OutputFiles.syncDirectory(parent);
            deleteRest();
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        } finally {
            if (done) {
                end();
            } else {
                state.set(State.OPEN);
            }
        }
    }

    /** Ends without a target, unless commit() has run: deletes everything, or all but what is to be kept. */
    @Override
    public void close() {
        try {
            discard();
        } finally {
            end();
        }
    }

    private void end() {
        state.set(State.CLOSED);
        removeHook();
        lock.close();
    }

    /**
     * Never waits for a commit: if it is killed during one, the directory is complete or can be resumed as after any
     * kill.
     */
    private void discardOnShutdown() {
        try {
            // Kept files stay as they are: the next run deletes the rest, and a thread may still be writing here.
            if (kept) {
                state.compareAndSet(State.OPEN, State.CLOSED);
            } else {
                discard();
            }
        } catch (UserError e) {
            LOG.log(System.Logger.Level.WARNING, "left behind: {0}", e.getMessage());
        }
    }

    private void discard() {
        if (!state.compareAndSet(State.OPEN, State.CLOSED)) {
            return;
        }
        try {
            if (kept) {
                OutputFiles.deleteTree(work());
            } else {
                deletePath();
            }
        } catch (IOException e) {
            throw OutputFiles.failure(path, e);
        }
    }

    /** The target is complete: leftovers that cannot be deleted are no reason to fail. */
    private void deleteRest() {
        try {
            deletePath();
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "{0} is complete, but {1} could not be deleted ({2}); remove it",
                    target,
                    path, e.getMessage());
        }
    }

    /** The lock's file last: as long as it exists, no other run considers the directory abandoned. */
    private void deletePath() throws IOException {
        deleteContents();
        OutputFiles.deleteTree(path);
    }

    /** Side by side: freeing the cached pages of a large file takes longer than all else. */
    private void deleteContents() throws IOException {
        try (Stream<Path> entries = Files.list(path)) {
            entries.filter(entry -> !entry.endsWith(DirectoryLock.FILE)).toList().parallelStream().forEach(entry -> {
                try {
                    OutputFiles.deleteTree(entry);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
        } catch (UncheckedIOException e) {
            throw e.getCause();
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

    private void moveIntoPlace() throws IOException {
        Path replaced = path.resolve(REPLACED);
        boolean replaces = Files.exists(target, LinkOption.NOFOLLOW_LINKS);
        if (replaces) {
            Files.move(target, replaced, StandardCopyOption.ATOMIC_MOVE);
        }
        try {
            Files.move(work(), target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            if (replaces) {
                Files.move(replaced, target, StandardCopyOption.ATOMIC_MOVE);
            }
            throw e;
        }
    }

    /** A predecessor was killed between the two renames of moveIntoPlace(), or before it had deleted the old target. */
    private void restoreReplaced() {
        Path replaced = path.resolve(REPLACED);
        if (!Files.exists(replaced, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try {
            if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
                OutputFiles.deleteTree(replaced);
            } else {
                Files.move(replaced, target, StandardCopyOption.ATOMIC_MOVE);
            }
        } catch (IOException e) {
            throw OutputFiles.failure(replaced, e);
        }
    }

    private static void recreate(Path directory) {
        try {
            OutputFiles.deleteTree(directory);
            Files.createDirectory(directory);
        } catch (IOException e) {
            throw OutputFiles.failure(directory, e);
        }
    }

    private UserError stopped() {
        return new UserError(Code.OUTPUT, target + ": the run was stopped; nothing was written");
    }
}
