package dev.optgptq.formats.natives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CacheFolderTest {

    @Test
    void the_folder_that_is_named_is_taken() throws IOException {
        assertEquals(Path.of("/scratch"),
                of(Map.of("OPT_GPTQ_CACHE", "/scratch", "XDG_CACHE_HOME", "/xdg"), "/home/a"));
    }

    @Test
    void otherwise_it_lies_in_the_cache_folder_of_the_desktop_standard() throws IOException {
        assertEquals(Path.of("/xdg/opt-gptq"), of(Map.of("XDG_CACHE_HOME", "/xdg"), "/home/a"));
        assertEquals(Path.of("/home/a/.cache/opt-gptq"), of(Map.of(), "/home/a"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "relative/cache"})
    void values_that_name_no_folder_do_not_count(String value) throws IOException {
        assertEquals(Path.of("/home/a/.cache/opt-gptq"), of(Map.of("XDG_CACHE_HOME", value), "/home/a"));
        assertEquals(Path.of("/home/a/.cache/opt-gptq"), of(Map.of("OPT_GPTQ_CACHE", ""), "/home/a"));
    }

    @Test
    void a_named_folder_is_all_that_a_user_without_a_home_needs() throws IOException {
        assertEquals(Path.of("/scratch"), of(Map.of("OPT_GPTQ_CACHE", "/scratch"), "?"));
        assertEquals(Path.of("/xdg/opt-gptq"), of(Map.of("XDG_CACHE_HOME", "/xdg"), "?"));
    }

    @Test
    void without_a_home_and_a_name_there_is_no_place_and_it_says_what_to_set() {
        IOException none = assertThrows(IOException.class, () -> of(Map.of(), "?"));
        assertTrue(String.valueOf(none.getMessage()).contains("no home directory; set OPT_GPTQ_CACHE"),
                none.getMessage());
    }

    private static Path of(Map<String, String> environment, String home) throws IOException {
        return CacheFolder.of(environment::get, home);
    }
}
