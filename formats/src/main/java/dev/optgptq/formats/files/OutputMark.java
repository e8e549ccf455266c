package dev.optgptq.formats.files;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * The list of files that we wrote into a directory, kept in it: one path per line, after a first line that names the
 * tool. Only a directory that holds nothing else may be replaced by a later output.
 */
public final class OutputMark {

    public static final String FILE = ".opt-gptq";

    private static final String FIRST_LINE = "Written by opt-gptq; --overwrite replaces a directory that holds these files"
            + " and no others.";

    private OutputMark() {}

    /** Marks a directory with all files now in it. */
    static void put(Path directory) {
        try {
            write(directory, filesIn(directory));
        } catch (IOException e) {
            throw OutputFiles.failure(directory, e);
        }
    }

    /** Adds a file written later, if its directory is marked. */
    public static void add(Path file) {
        Path absolute = file.toAbsolutePath().normalize();
        Path directory = absolute.getParent();
        if (directory != null && isMarked(directory)) {
            Set<String> files = new TreeSet<>(listed(directory));
            if (files.add(directory.relativize(absolute).toString())) {
                write(directory, files);
            }
        }
    }

    /** Whether we wrote that directory, even if other files were added. */
    public static boolean isMarked(Path directory) {
        Path mark = directory.resolve(FILE);
        return Files.isRegularFile(mark, LinkOption.NOFOLLOW_LINKS) && lines(mark).findFirst()
                .filter(FIRST_LINE::equals).isPresent();
    }

    /** A file, link or folder in a marked directory that we did not write; empty when there is none. */
    static Optional<String> foreign(Path directory) throws IOException {
        Set<String> ours = isMarked(directory) ? new HashSet<>(listed(directory)) : Set.of();
        return filesIn(directory).stream().filter(file -> !ours.contains(file)).findFirst();
    }

    private static List<String> listed(Path directory) {
        return lines(directory.resolve(FILE)).skip(1).toList();
    }

    private static Stream<String> lines(Path mark) {
        byte[] bytes = InputFiles.read(mark, 16 << 20, Code.OUTPUT);
        return new String(bytes, StandardCharsets.UTF_8).lines();
    }

    private static void write(Path directory, Iterable<String> files) {
        OutputFiles.replace(directory.resolve(FILE),
                (FIRST_LINE + "\n" + String.join("\n", files) + "\n").getBytes(StandardCharsets.UTF_8));
    }

    /** Sorted; folders that are empty are named too, the mark itself is not. */
    private static Set<String> filesIn(Path directory) throws IOException {
        Set<String> files = new TreeSet<>();
        List<Path> folders = new ArrayList<>();
        Files.walkFileTree(directory, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) {
                folders.add(folder);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                files.add(directory.relativize(file).toString());
                return FileVisitResult.CONTINUE;
            }
        });
        files.remove(FILE);
        folders.stream().map(folder -> directory.relativize(folder).toString())
                .filter(folder -> !folder.isEmpty() && files.stream().noneMatch(file -> file.startsWith(folder + "/")))
                .toList().forEach(files::add);
        return files;
    }
}
