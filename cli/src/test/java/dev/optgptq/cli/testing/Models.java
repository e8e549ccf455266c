package dev.optgptq.cli.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The small models and texts of the repository. */
public final class Models {

    private Models() {}

    /** A trained llama of 4 blocks, with a tokenizer. */
    public static Path llama() {
        return root().resolve("samples/wiki-tiny-llama");
    }

    /** A trained mpt of 4 blocks, with a tokenizer. */
    public static Path mpt() {
        return root().resolve("samples/wiki-tiny-mpt");
    }

    /** A random mpt of 2 blocks without a tokenizer, beside the logits that another implementation gives. */
    public static Path fixture() {
        return root().resolve("calibrate/src/test/resources/fixtures/mpt");
    }

    /** The checkout. */
    public static Path root() {
        for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            if (Files.isDirectory(at.resolve("samples/wiki-tiny-llama"))) {
                return at;
            }
        }
        throw new IllegalStateException("no samples above " + Path.of("").toAbsolutePath());
    }

    /** A copy to damage. */
    public static Path copy(Path model, Path target) {
        try (Stream<Path> files = Files.list(model)) {
            Files.createDirectories(target);
            for (Path file : files.toList()) {
                Files.copy(file, target.resolve(file.getFileName()));
            }
            return target;
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Some 400 tokens of text, written into the directory. */
    public static Path text(Path directory) {
        StringBuilder text = new StringBuilder();
        for (int year = 1800; year < 1814; year++) {
            text.append("The river runs through the old town , where a bridge of stone was built in the year ")
                    .append(year).append(" . ");
        }
        try {
            return Files.writeString(directory.resolve("text.txt"), text);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Names in a directory, hidden ones too, sorted. */
    public static List<String> names(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> String.valueOf(file.getFileName())).sorted().toList();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }
}
