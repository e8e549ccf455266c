package dev.optgptq.formats.files;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OutputFilesTest {

    @TempDir
    Path directory;

    @Test
    void a_full_disk_is_called_that() {
        Path full = Path.of("/dev/full");
        assumeTrue(Files.exists(full), "no /dev/full on this system");
        IOException e = assertThrows(IOException.class, () -> {
            try (OutputStream out = Files.newOutputStream(full, StandardOpenOption.WRITE)) {
                out.write(1);
            }
        });
        assertEquals("out/model.safetensors: the disk is full; free some space or choose another disk",
                OutputFiles.failure(Path.of("out/model.safetensors"), e).getMessage());
    }

    @Test
    void a_refused_permission_is_called_that() {
        assertEquals("out: no permission to write; choose another place or change its permissions",
                OutputFiles.failure(Path.of("out"), new AccessDeniedException("out")).getMessage());
    }

    @Test
    void a_file_is_never_written_over() throws IOException {
        Path file = directory.resolve("a.json");
        OutputFiles.write(file, new byte[] {1, 2});
        assertUserError(Code.OUTPUT, () -> OutputFiles.write(file, new byte[] {3}), "a.json", "in the way");
        assertEquals(2, Files.size(file));
    }

    @Test
    void deleting_a_tree_removes_links_and_not_what_they_point_to() throws IOException {
        Path outside = Files.writeString(directory.resolve("outside"), "stays");
        Path tree = Files.createDirectories(directory.resolve("tree/deep"));
        Files.createSymbolicLink(tree.resolve("link"), outside);
        Files.createFile(tree.resolve("file"));
        OutputFiles.deleteTree(directory.resolve("tree"));
        assertFalse(Files.exists(directory.resolve("tree")));
        assertTrue(Files.exists(outside));
        OutputFiles.deleteTree(directory.resolve("never there"));
    }
}
