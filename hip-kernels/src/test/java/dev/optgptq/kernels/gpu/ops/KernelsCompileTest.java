package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.NativeLibrary;
import dev.optgptq.kernels.gpu.driver.GpuDriver.DeviceInfo;
import dev.optgptq.kernels.gpu.driver.GpuDrivers;
import dev.optgptq.kernels.gpu.rtc.KernelCompiler;
import dev.optgptq.kernels.gpu.rtc.KernelSource;
import dev.optgptq.kernels.gpu.rtc.RuntimeCompiler;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Every kernel by the real hiprtc, which needs no card; skipped where the HIP runtime is not installed. For the architecture
 * with matrix units only what uses them: the rest is the same source there, and {@code make kernels} compiles it offline.
 */
class KernelsCompileTest {

    private static final Path SOURCES = Path.of("src/main/gpu");

    @TestFactory
    Stream<DynamicTest> hiprtc_compiles_every_kernel_for_cards_that_are_not_here() throws IOException {
        try {
            NativeLibrary.load(GpuDrivers.HIP);
        } catch (UserError e) {
            Assumptions.abort("kernels are not compiled by hiprtc here: " + e.getMessage());
        }
        KernelCompiler compiler = RuntimeCompiler.of("hip");
        return sources().stream().flatMap(source -> architectures(source).stream()
                .map(architecture -> DynamicTest.dynamicTest(source + " for " + architecture, () -> {
                    byte[] code = compiler.compile(KernelSource.bundled(source),
                            new DeviceInfo("none", architecture, 64, 1, 65536, 1024, 0));
                    assertTrue(code.length > 1000, () -> code.length + " bytes");
                })));
    }

    private static List<String> sources() throws IOException {
        try (Stream<Path> files = Files.list(SOURCES)) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".hip")).sorted()
                    .map(name -> name.substring(0, name.length() - ".hip".length())).toList();
        }
    }

    private static List<String> architectures(String source) {
        try {
            return Files.readString(SOURCES.resolve(source + ".hip")).contains("MATRIX_UNITS")
                    ? List.of("gfx906", "gfx90a")
                    : List.of("gfx906");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
