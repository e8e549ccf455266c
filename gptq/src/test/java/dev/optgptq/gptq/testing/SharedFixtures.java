package dev.optgptq.gptq.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.formats.model.ModelDirectory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;

/** The tiny models of every family, in shared/fixtures beside the checkout. */
public final class SharedFixtures {

    private SharedFixtures() {}

    /** Opens one; the test is skipped where the folder is absent. */
    public static ModelDirectory open(String name) {
        Path above = Path.of("").toAbsolutePath();
        while (above != null && !Files.isDirectory(above.resolve("shared/fixtures"))) {
            above = above.getParent();
        }
        assumeTrue(above != null, "no folder shared/fixtures above this one");
        return ModelDirectory.open(Objects.requireNonNull(above).resolve("shared/fixtures").resolve(name));
    }
}
