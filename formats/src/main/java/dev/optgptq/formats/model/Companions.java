package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.files.OutputMark;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The files beside the weights: everything in the directory and its folders is copied except weights, their indexes,
 * files that are written anew, and hidden files (of the tools that fetched the model). Links must lead to a file of the
 * model's own repository: an output is published, and must not contain files that were never part of the model.
 */
final class Companions {

    /** Weights and their indexes, in the forms of all frameworks, and the state of a training. */
    private static final List<PathMatcher> WEIGHTS = Stream
            .of("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.npz",
                    "*.onnx", "*.onnx_data", "*.ot", "*.tflite", "*.mlmodel", "*.nemo", "*.distcp",
                    "*.index.json", "*.part", "*.incomplete", "*.lock")
            .map(glob -> FileSystems.getDefault().getPathMatcher("glob:" + glob)).toList();

    /** Written anew with every checkpoint. */
    private static final Set<String> OURS = Set.of(ModelDirectory.CONFIG_FILE, ModelDirectory.QUANTIZATION_FILE,
            OutputMark.FILE, "report.json", "report.html");

    private final Path directory;
    private final Path repository;
    private final List<Companion> found = new ArrayList<>();

    private Companions(Path directory) throws IOException {
        // A walk does not enter a directory that is itself a link.
        this.directory = Files.isSymbolicLink(directory) ? directory.toRealPath() : directory;
        this.repository = repository(directory.toRealPath());
    }

    /** Sorted by name. Throws UserError BAD_MODEL naming a link that is dangling or leads out of the repository. */
    static List<Companion> in(Path directory) {
        try {
            Companions companions = new Companions(directory);
            companions.walk();
            companions.found.sort(Comparator.comparing(Companion::name));
            return List.copyOf(companions.found);
        } catch (IOException e) {
            throw new UserError(Code.BAD_MODEL, directory + ": cannot be listed (" + e + "); check its permissions", e);
        }
    }

    /** The hub's cache has links in models--NAME/snapshots/REVISION to models--NAME/blobs. */
    private static Path repository(Path directory) {
        Path snapshots = directory.getParent();
        if (snapshots == null || !snapshots.endsWith("snapshots")) {
            return directory;
        }
        Path repository = snapshots.getParent();
        return repository != null && Files.isDirectory(repository.resolve("blobs")) ? repository : directory;
    }

    private void walk() throws IOException {
        Files.walkFileTree(directory, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) {
                return !folder.equals(directory) && isHidden(folder)
                        ? FileVisitResult.SKIP_SUBTREE
                        : FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                if (!isHidden(file) && !isWeights(file) && !isOurs(file)) {
                    found.add(new Companion(directory.relativize(file), content(file)));
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path folder, @Nullable IOException e) throws IOException {
                if (e != null) {
                    throw e;
                }
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static boolean isHidden(Path file) {
        return file.getFileName().toString().startsWith(".");
    }

    private static boolean isWeights(Path file) {
        return WEIGHTS.stream().anyMatch(pattern -> pattern.matches(file.getFileName()));
    }

    private boolean isOurs(Path file) {
        return directory.equals(file.getParent()) && OURS.contains(file.getFileName().toString());
    }

    private Path content(Path file) throws IOException {
        InputFiles.requireContent(file, Code.BAD_MODEL);
        Path real = file.toRealPath();
        if (!real.startsWith(repository)) {
            throw new UserError(Code.BAD_MODEL, file + ": the link leads to "
                    + InputFiles.linkTarget(file, Code.BAD_MODEL)
                    + ", outside of the model's directory, and the output would carry a copy; put a copy in its place"
                    + " if it belongs to the model, or remove the link");
        }
        return real;
    }
}
