package dev.optgptq.kernels.testing;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;

/** HIP devices on the SIMT emulator of hip-kernels; skips where that cannot be built. While it is open, HIP is the emulator. */
public final class EmulatedGpu implements AutoCloseable {

    private static final String LIBRARY = "opt-gptq.hip.lib";
    /** A card's own BLAS would multiply, which the emulator is not. */
    private static final String BLAS = "opt-gptq.rocblas.lib";
    private static final Path SOURCES = Path.of("../hip-kernels/src/test/emulator");
    private static final long MINUTES = 5;

    private final DeviceGroup devices;

    private EmulatedGpu(DeviceGroup devices) {
        this.devices = devices;
    }

    /** hip:0, waves of 64. */
    public static EmulatedGpu open() {
        return open("hip:0");
    }

    /** @param names as --device takes them; there are two */
    public static EmulatedGpu open(String names) {
        boolean here = System.getProperty("os.name").equals("Linux") && System.getProperty("os.arch").equals("amd64");
        Assumptions.assumeTrue(here && hasCompiler(), "the GPU emulator needs g++ on x86-64 Linux; not tested here");
        System.setProperty(LIBRARY, build().resolve("libhip-emulator-64.so").toString());
        System.setProperty(BLAS, "none");
        try {
            return new EmulatedGpu(Devices.openGroup(names, 1));
        } catch (RuntimeException e) {
            forget();
            throw e;
        }
    }

    public Device device() {
        return devices.first();
    }

    public DeviceGroup devices() {
        return devices;
    }

    private static void forget() {
        System.clearProperty(LIBRARY);
        System.clearProperty(BLAS);
    }

    private static boolean hasCompiler() {
        for (String folder : System.getenv().getOrDefault("PATH", "").split(File.pathSeparator, -1)) {
            if (Files.isExecutable(Path.of(folder, System.getenv().getOrDefault("GXX", "g++")))) {
                return true;
            }
        }
        return false;
    }

    /** Its make file builds what is not up to date. */
    private static Path build() {
        Path target = Path.of("../hip-kernels/target/emulator").toAbsolutePath().normalize();
        try {
            Process make = new ProcessBuilder("make", "-s", "-C", SOURCES.toString(), "TARGET=" + target).inheritIO()
                    .start();
            if (!make.waitFor(MINUTES, TimeUnit.MINUTES) || make.exitValue() != 0) {
                throw new IllegalStateException("the emulator does not build, see above");
            }
            return target;
        } catch (IOException e) {
            return Assumptions.abort("the GPU emulator needs make; not tested here: " + e.getMessage());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() {
        devices.close();
        forget();
    }
}
