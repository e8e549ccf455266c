package dev.optgptq.kernels.gpu.rtc;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
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
