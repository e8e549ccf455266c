package dev.optgptq.formats.files;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class InputFilesTest {

    @TempDir
    Path folder;

    @Test
    void the_whole_of_a_small_file_is_read() throws IOException {
        Path file = Files.write(folder.resolve("x"), new byte[] {1, 2, 3});
        assertArrayEquals(new byte[] {1, 2, 3}, InputFiles.read(file, 3, Code.BAD_MODEL));
        assertUserError(Code.BAD_MODEL, () -> InputFiles.read(file, 2, Code.BAD_MODEL), file.toString(),
                "at most 2 bytes", "found 3");
    }

    /** Opening a pipe for reading waits until somebody writes to it. */
    @Test
    @EnabledOnOs(OS.LINUX)
    @Timeout(value = 20, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void a_pipe_is_refused_without_waiting_for_it() throws Exception {
        Path pipe = folder.resolve("model.safetensors");
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        assertUserError(Code.BAD_MODEL, () -> InputFiles.read(pipe, 100, Code.BAD_MODEL), pipe.toString(),
                "expected a file, found a pipe");
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void a_device_is_refused() {
        assertUserError(Code.BAD_MODEL, () -> InputFiles.read(Path.of("/dev/zero"), 100, Code.BAD_MODEL), "/dev/zero",
                "a device");
    }
}
