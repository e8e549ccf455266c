package dev.optgptq.formats.natives;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeFolderTest {

    @TempDir
    Path folder;

    @Test
    void a_library_of_the_distribution_is_found_under_its_name() throws IOException {
        Path library = Files.createFile(folder.resolve("libopenblas.so.0"));
        assertEquals(library, new NativeFolder(folder).file("libopenblas.so.0"));
    }

    @Test
    void one_that_is_missing_is_named_and_the_distribution_is_damaged() {
        assertUserError(Code.DEVICE, () -> new NativeFolder(folder).file("libopenblas.so.0"),
                folder.resolve("libopenblas.so.0").toString(), "unpack the distribution again");
    }
}
