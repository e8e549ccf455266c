package dev.optgptq.calibrate.testing;

import static org.junit.jupiter.api.Assumptions.abort;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Models and texts too large for the repository. They lie in a folder "shared" beside the checkout or above it, or where
 * the system property optgptq.shared says; a test that needs one is skipped, with a message, where there is none.
 */
public final class SharedFiles {

    private SharedFiles() {}

    public static Path require(String relative) {
        String property = System.getProperty("optgptq.shared");
        if (property != null) {
            return existing(Path.of(property).resolve(relative));
        }
        for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            if (Files.isDirectory(at.resolve("shared/models"))) {
                return existing(at.resolve("shared").resolve(relative));
            }
        }
        return abort("no folder 'shared' above " + Path.of("").toAbsolutePath()
                + "; set -Doptgptq.shared=DIR to run this test");
    }

    private static Path existing(Path file) {
        return Files.exists(file) ? file : abort(file + " is not there");
    }
}
