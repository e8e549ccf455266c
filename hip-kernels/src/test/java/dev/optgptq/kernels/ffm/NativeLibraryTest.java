package dev.optgptq.kernels.ffm;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.NativeLibrary.Search;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

@EnabledOnOs(OS.LINUX)
class NativeLibraryTest {

    private static final EnvironmentSetting SETTING = new EnvironmentSetting("test.lib");
    private static final Search MATHS = new Search("maths", SETTING, List.of("libabsent.so.1", "libm.so.6"));

    @AfterEach
    void forgetTheSetting() {
        System.clearProperty(SETTING.property());
    }

    @Test
    void the_first_library_that_loads_is_taken_and_its_file_known() throws Throwable {
        NativeLibrary library = NativeLibrary.load(MATHS);
        assertTrue(library.file().endsWith("/libm.so.6"), library.file());
        assertEquals(1.0, (double) library.function("cos", JAVA_DOUBLE, JAVA_DOUBLE).invokeExact(0.0));
    }

    @Test
    void what_was_tried_is_listed_with_how_to_name_another() {
        UserError none = assertThrows(UserError.class,
                () -> NativeLibrary.load(new Search("maths", SETTING, List.of("libabsent.so.1", "libabsent.so"))));
        assertEquals("maths: no library found (libabsent.so.1; libabsent.so); if it is elsewhere, name it with "
                + "OPT_GPTQ_TEST_LIB", none.getMessage());
    }

    @Test
    void a_library_that_was_named_is_taken_or_nothing_and_the_systems_reason_told(@TempDir Path folder)
            throws IOException {
        Path broken = Files.writeString(folder.resolve("libm.so.6"), "not a library");
        System.setProperty(SETTING.property(), broken.toString());
        UserError refused = assertThrows(UserError.class, () -> NativeLibrary.load(MATHS));
        assertEquals("maths: OPT_GPTQ_TEST_LIB names a library that cannot be loaded (" + broken
                + ": file too short)", refused.getMessage());
    }

    @Test
    void none_switches_a_library_off() {
        System.setProperty(SETTING.property(), "none");
        UserError off = assertThrows(UserError.class, () -> NativeLibrary.load(MATHS));
        assertEquals("maths: switched off, OPT_GPTQ_TEST_LIB is none", off.getMessage());
    }

    @Test
    void a_function_that_is_missing_is_named_with_the_file() {
        NativeLibrary library = NativeLibrary.load(MATHS);
        UserError missing = assertThrows(UserError.class, () -> library.function("cosine", JAVA_DOUBLE));
        assertEquals(library.file() + " has no function cosine; it is another library, or too old",
                missing.getMessage());
    }
}
