package dev.optgptq.kernels.gpu.rtc;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.stream.Stream;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class KernelCacheTest {

    private static final byte[] CODE = {1, 2, 3};
    private static final KernelCache.Key KEY = KernelCache.Key.of("norm-gfx906", List.of("source", "options", "build"));

    private final AtomicInteger compilations = new AtomicInteger();

    private byte[] compile() {
        compilations.incrementAndGet();
        return CODE.clone();
    }

    @Test
    void what_was_compiled_once_is_not_compiled_again(@TempDir Path folder) {
        new KernelCache(folder.resolve("new")).get(KEY, this::compile);
        assertArrayEquals(CODE, new KernelCache(folder.resolve("new")).get(KEY, this::compile));
        assertEquals(1, compilations.get());
    }

    @Test
    void a_damaged_file_is_compiled_again_and_mended(@TempDir Path folder) throws IOException {
        KernelCache cache = new KernelCache(folder);
        cache.get(KEY, this::compile);
        byte[] stored = Files.readAllBytes(folder.resolve(KEY.file()));
        for (int length : new int[] {0, 5, stored.length - 1}) {
            Files.write(folder.resolve(KEY.file()), java.util.Arrays.copyOf(stored, length));
            assertArrayEquals(CODE, cache.get(KEY, this::compile), "cut to " + length);
            assertArrayEquals(stored, Files.readAllBytes(folder.resolve(KEY.file())));
        }
        assertEquals(4, compilations.get());
    }

    @Test
    void a_folder_that_cannot_be_made_costs_only_the_compilation(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "not a folder");
        assertArrayEquals(CODE, new KernelCache(file.resolve("kernels")).get(KEY, this::compile));
    }

    /** As a folder in /tmp that everybody may write would allow it. */
    @Test
    @EnabledOnOs(OS.LINUX)
    void a_file_that_others_may_have_written_or_a_link_is_not_run(@TempDir Path folder) throws IOException {
        KernelCache cache = new KernelCache(folder.resolve("kernels"));
        cache.get(KEY, this::compile);
        Path file = folder.resolve("kernels").resolve(KEY.file());

        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-rw-rw-"));
        cache.get(KEY, this::compile);
        assertEquals(2, compilations.get());

        Path elsewhere = Files.move(file, folder.resolve("elsewhere"));
        Files.createSymbolicLink(file, elsewhere);
        cache.get(KEY, this::compile);
        assertEquals(3, compilations.get());
        assertFalse(Files.isSymbolicLink(file));
        assertEquals("rwx------",
                PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("kernels"))));
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void a_folder_that_is_a_link_is_not_used(@TempDir Path folder) throws IOException {
        Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
        KernelCache cache = new KernelCache(Files.createSymbolicLink(folder.resolve("kernels"), elsewhere));
        assertArrayEquals(CODE, cache.get(KEY, this::compile));
        try (Stream<Path> files = Files.list(elsewhere)) {
            assertEquals(0, files.count());
        }
    }

    @Test
    void the_key_changes_with_every_part_and_with_where_one_ends() {
        List<List<String>> others = List.of(List.of("source2", "options", "build"),
                List.of("source", "options2", "build"), List.of("source", "options", "build2"),
                List.of("sourceo", "ptions", "build"));
        for (List<String> parts : others) {
            assertNotEquals(KEY, KernelCache.Key.of("norm-gfx906", parts), parts.toString());
        }
    }
}
