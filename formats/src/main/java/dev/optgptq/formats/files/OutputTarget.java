package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * The place of an output, and whether existing files may be replaced.
 *
 * @param path absolute; for a link, its destination
 * @param overwrite whether something may be there at all
 */
public record OutputTarget(Path path, boolean overwrite) {

    /** Linux's limit. */
    private static final int MOST_LINKS = 40;

    static OutputTarget of(Path named, boolean overwrite) {
        return new OutputTarget(resolved(named.toAbsolutePath().normalize()), overwrite);
    }

    /** Throws UserError OUTPUT if replacing the output would delete an input file. */
    public static void requireOutside(Path output, Path input) {
        if (real(input).startsWith(real(output))) {
            throw new UserError(Code.OUTPUT, input + ": expected a file outside of the output " + output
                    + ", which is replaced as a whole, found one in it; choose another output or move the file");
        }
    }

    Path parent() {
        Path parent = path.getParent();
        if (parent == null) {
            throw new UserError(Code.OUTPUT, path + ": expected a directory that can be created, found the root of a"
                    + " file system; name a directory in it");
        }
        return parent;
    }

    /** Throws UserError OUTPUT unless nothing is there, or it may be replaced and is empty or entirely ours. */
    void require() {
        if (!InputFiles.isThere(path)) {
            return;
        }
        if (!overwrite) {
            throw new UserError(Code.OUTPUT, path + ": expected nothing there, found "
                    + (Files.isDirectory(path) ? "a directory" : "a file")
                    + "; choose another output or replace it with --overwrite");
        }
        if (!Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
            throw notReplaced("a file");
        }
        try {
            if (!OutputMark.isMarked(path) && !isEmpty()) {
                throw notReplaced("a directory that opt-gptq did not write");
            }
            OutputMark.foreign(path).ifPresent(file -> {
                throw notReplaced(file + " in it, which opt-gptq did not write");
            });
        } catch (IOException e) {
            throw OutputFiles.failure(path, e);
        }
    }

    private UserError notReplaced(String found) {
        return new UserError(Code.OUTPUT, path + ": expected a directory that opt-gptq wrote, to overwrite it, found "
                + found + "; it is left alone, choose another output or remove it yourself");
    }

    private boolean isEmpty() throws IOException {
        try (Stream<Path> entries = Files.list(path)) {
            return entries.findAny().isEmpty();
        }
    }

    /** The destination of a link, which need not exist. */
    private static Path resolved(Path target) {
        Path at = target;
        for (int links = 0; Files.isSymbolicLink(at); links++) {
            if (links == MOST_LINKS) {
                throw new UserError(Code.OUTPUT, target + ": expected a link that leads somewhere, found one that leads"
                        + " to itself; remove it or choose another output");
            }
            at = at.resolveSibling(InputFiles.linkTarget(at, Code.OUTPUT)).normalize();
        }
        return at;
    }

    private static Path real(Path path) {
        try {
            return Files.exists(path) ? path.toRealPath() : resolved(path.toAbsolutePath().normalize());
        } catch (IOException e) {
            throw OutputFiles.failure(path, e);
        }
    }
}
