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

    /**
     * Throws UserError OUTPUT if the directory of a new model is, holds or lies in that of the model it is made from, which is
     * never changed, or if it exists and may not be replaced.
     */
    public static void requireApart(Path output, Path model, boolean overwrite) {
        if (real(model).startsWith(real(output))) {
            throw new UserError(Code.OUTPUT, output + " is or holds the model " + model + "; choose another --output");
        }
        if (real(output).startsWith(real(model))) {
            throw new UserError(Code.OUTPUT,
                    output + " lies in the model " + model + ", which is never changed; choose another --output");
        }
        if (Files.exists(output) && !overwrite) {
            throw new UserError(Code.OUTPUT, output + " exists; choose another --output, or --overwrite it");
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

    /** The path without links, of which the last parts need not exist. */
    private static Path real(Path path) {
        Path absolute = resolved(path.toAbsolutePath().normalize());
        Path parent = absolute.getParent();
        try {
            return Files.exists(absolute) || parent == null
                    ? absolute.toRealPath()
                    : real(parent).resolve(absolute.getFileName());
        } catch (IOException e) {
            throw OutputFiles.failure(path, e);
        }
    }
}
