package dev.optgptq.kernels.blas;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Why a CPU multiplies bfloat16 or does not. Results are in the contract suite. */
class OneDnnLibraryTest {

    private static final String PROPERTY = OneDnnLibrary.SETTING.property();

    @TempDir
    Path directory;

    @AfterEach
    void forget() {
        System.clearProperty(PROPERTY);
    }

    @Test
    void a_cpu_without_instructions_for_bfloat16_is_told_so_before_any_library_is_opened() throws IOException {
        System.setProperty(PROPERTY, "/nowhere/libdnnl.so.3");
        assertRefused("avx2 avx512f avx512_vnni", "neither AVX-512 BF16 nor AMX");
    }

    @ParameterizedTest
    @ValueSource(strings = {"avx512_bf16", "amx_bf16"})
    void a_library_that_is_named_and_does_not_load_is_named_back(String units) throws IOException {
        System.setProperty(PROPERTY, "/nowhere/libdnnl.so.3");
        assertRefused("avx512f " + units + " sha_ni", "/nowhere/libdnnl.so.3", OneDnnLibrary.SETTING.variable());
    }

    @Test
    void none_switches_it_off() throws IOException {
        System.setProperty(PROPERTY, "none");
        assertRefused("avx512_bf16", "switched off");
    }

    @Test
    void another_library_is_refused_by_what_it_lacks() throws IOException {
        assumeTrue(System.getProperty("os.name").toLowerCase(Locale.ROOT).equals("linux"), "Linux only");
        System.setProperty(PROPERTY, "libc.so.6");
        OneDnnLibrary other = OneDnnLibrary.load(cpuInfo("avx512_bf16"));
        UserError error = assertThrows(UserError.class, () -> new OneDnnCalls(other.symbols()));
        assertTrue(String.valueOf(error.getMessage()).contains("dnnl_version"), error.getMessage());
    }

    @Test
    void the_cpu_device_says_what_multiplies_bfloat16() {
        try (Device cpu = Devices.open("cpu", 1)) {
            Device.Halves bfloat16 = cpu.halves(DType.BF16);
            assumeTrue(bfloat16 == Device.Halves.VECTOR, () -> "no bfloat16 here: " + cpu.halvesRemark(DType.BF16));
            assertTrue(cpu.halvesRemark(DType.BF16).startsWith("oneDNN 3."), cpu.halvesRemark(DType.BF16));
            assertEquals(Device.Halves.WIDENED, cpu.halves(DType.F16));
        }
    }

    private void assertRefused(String flags, String... fragments) throws IOException {
        Path cpuInfo = cpuInfo(flags);
        UserError error = assertThrows(UserError.class, () -> OneDnnLibrary.load(cpuInfo));
        assertEquals(UserError.Code.DEVICE, error.code());
        for (String fragment : fragments) {
            assertTrue(String.valueOf(error.getMessage()).contains(fragment), error.getMessage());
        }
    }

    private Path cpuInfo(String flags) throws IOException {
        return Files.writeString(directory.resolve("cpuinfo"),
                "processor\t: 0\nmodel name\t: a CPU\nflags\t\t: fpu vme " + flags + "\n");
    }
}
