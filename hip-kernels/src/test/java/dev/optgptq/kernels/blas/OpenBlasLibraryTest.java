package dev.optgptq.kernels.blas;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.NativeFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OpenBlasLibraryTest {

    @TempDir
    Path directory;
    private List<Path> files = List.of();

    @BeforeEach
    void unpack() throws IOException {
        BundledLibrary bundled = BundledLibrary.openBlas();
        assumeTrue(bundled.isPresent(), "no OpenBLAS is bundled for " + bundled.platform());
        files = bundled.unpack(directory);
    }

    @Test
    void a_distributions_library_is_loaded_from_its_folder() {
        OpenBlasLibrary library = OpenBlasLibrary.loadDistributed(folder());
        assertEquals("of this distribution", library.origin());
        assertTrue(library.symbols().find("cblas_sgemm").isPresent());
    }

    @Test
    void a_distribution_that_lacks_a_library_is_damaged() throws IOException {
        for (Path file : files) {
            byte[] content = Files.readAllBytes(file);
            Files.delete(file);
            assertError(file.toString(), "unpack the distribution again");
            Files.write(file, content);
        }
    }

    @Test
    void a_distributions_library_that_does_not_load_is_named_with_what_to_do() throws IOException {
        Files.writeString(files.getLast(), "no library");
        assertError(files.getLast().toString(), "'ldd ", OpenBlasLibrary.PATH_VARIABLE, "--device reference");
    }

    private NativeFolder folder() {
        return new NativeFolder(Path.of(String.valueOf(files.getFirst().getParent())));
    }

    private void assertError(String... fragments) {
        UserError error = assertThrows(UserError.class, () -> OpenBlasLibrary.loadDistributed(folder()));
        assertEquals(UserError.Code.DEVICE, error.code());
        for (String fragment : fragments) {
            assertTrue(String.valueOf(error.getMessage()).contains(fragment), error.getMessage());
        }
    }
}
