package dev.optgptq.formats.testing;

import static org.junit.jupiter.api.Assumptions.abort;

import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Models and texts too large for the repository. They lie in a folder "shared" beside the checkout or above it, or where
 * the system property optgptq.shared says; a test that needs one is skipped, with a message, where there is none.
 */
public final class SharedFiles {

    private SharedFiles() {}

    public static Path require(String relative) {
        Path shared = locate();
        if (shared == null) {
            return abort("no folder 'shared' above " + Path.of("").toAbsolutePath()
                    + "; set -Doptgptq.shared=DIR to run this test");
        }
        Path file = shared.resolve(relative);
        return Files.exists(file) ? file : abort(file + " is not there");
    }

    /** A trained model of the repository itself, in samples/. */
    public static Path sample(String model) {
        for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            if (Files.isDirectory(at.resolve("samples").resolve(model))) {
                return at.resolve("samples").resolve(model);
            }
        }
        throw new AssertionError("samples/" + model + " is part of the repository, but is not above "
                + Path.of("").toAbsolutePath());
    }

    private static @Nullable Path locate() {
        String property = System.getProperty("optgptq.shared");
        if (property != null) {
            return Path.of(property);
        }
        for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            if (Files.isDirectory(at.resolve("shared/models"))) {
                return at.resolve("shared");
            }
        }
        return null;
    }
}
