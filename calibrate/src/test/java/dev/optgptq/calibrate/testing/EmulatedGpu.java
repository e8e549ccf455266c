package dev.optgptq.calibrate.testing;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.opentest4j.TestAbortedException;

/**
 * The emulator of hip-kernels in place of the HIP runtime, for the length of a test: the device hip is then the path that
 * a card takes. The tests that ask are skipped where it cannot be built.
 */
public final class EmulatedGpu implements AutoCloseable {

    private static final String HIP = "opt-gptq.hip.lib";
    private static final String ROCBLAS = "opt-gptq.rocblas.lib";
    private static final Path SOURCES = Path.of("../hip-kernels/src/test/emulator");
    private static final Path TARGET = Path.of("../hip-kernels/target/emulator").toAbsolutePath().normalize();
    private static final long MINUTES = 5;

    private EmulatedGpu() {
        System.setProperty(HIP, TARGET.resolve("libhip-emulator-64.so").toString());
        System.setProperty(ROCBLAS, "none");
    }

    /** Builds it where it is not built yet. */
    public static EmulatedGpu open() {
        boolean here = System.getProperty("os.name").equals("Linux") && System.getProperty("os.arch").equals("amd64");
        Assumptions.assumeTrue(here, "the GPU emulator needs x86-64 Linux; not tested here");
        try {
            Process make = new ProcessBuilder("make", "-s", "-C", SOURCES.toString(), "TARGET=" + TARGET).inheritIO()
                    .start();
            Assumptions.assumeTrue(make.waitFor(MINUTES, TimeUnit.MINUTES) && make.exitValue() == 0,
                    "the GPU emulator does not build, see above; not tested here");
            return new EmulatedGpu();
        } catch (IOException e) {
            throw new TestAbortedException("the GPU emulator needs make; not tested here", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** What it is called on the command line. */
    public String device() {
        return "hip";
    }

    @Override
    public void close() {
        System.clearProperty(HIP);
        System.clearProperty(ROCBLAS);
    }
}
