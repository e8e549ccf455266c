package dev.optgptq.gptq.bench;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** A folder for the checkpoint of a measured job, removed when it is closed. */
record TemporaryFolder(Path path) implements AutoCloseable {

    static TemporaryFolder create() {
        try {
            return new TemporaryFolder(Files.createTempDirectory("opt-gptq-bench-"));
        } catch (IOException e) {
            throw new UserError(Code.OUTPUT, "no temporary folder for the checkpoint under "
                    + System.getProperty("java.io.tmpdir") + ": " + e.getMessage()
                    + "; name another one with -Djava.io.tmpdir", e);
        }
    }

    @Override
    public void close() {
        try (Stream<Path> files = Files.walk(path)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UserError(Code.OUTPUT, path + " cannot be removed: " + e.getMessage() + "; remove it by hand", e);
        }
    }
}
