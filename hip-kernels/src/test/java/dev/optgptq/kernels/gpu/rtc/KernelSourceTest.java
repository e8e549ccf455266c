package dev.optgptq.kernels.gpu.rtc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class KernelSourceTest {

    @Test
    void headers_stand_in_the_place_of_their_names_once_each() {
        String text = KernelSource.of("two", "#include \"elements.h\"\n#include \"portability.h\"\nlast").text();
        assertEquals(text.indexOf("#ifndef OPTGPTQ_PORTABILITY_H"), text.lastIndexOf("#ifndef OPTGPTQ_PORTABILITY_H"));
        assertTrue(text.contains("#ifndef OPTGPTQ_ELEMENTS_H"), text);
        assertFalse(text.contains("#include \""), text);
    }

    @Test
    void lines_after_a_header_keep_their_numbers() {
        String text = KernelSource.of("counted", "first\n#include \"portability.h\"\nthird").text();
        assertTrue(text.startsWith("#line 1 \"counted.hip\"\nfirst\n#line 1 \"portability.h\"\n"), text);
        assertTrue(text.endsWith("#line 3 \"counted.hip\"\nthird\n"), text);
    }

    @Test
    void a_source_that_is_not_there_is_named() {
        Throwable missing = assertThrows(IllegalArgumentException.class, () -> KernelSource.bundled("missing"));
        assertTrue(String.valueOf(missing.getMessage()).contains("missing.hip"), missing.toString());
    }
}
