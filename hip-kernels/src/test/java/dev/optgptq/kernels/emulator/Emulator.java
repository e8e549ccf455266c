package dev.optgptq.kernels.emulator;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.GpuDevice;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import dev.optgptq.kernels.gpu.driver.GpuDrivers;
import dev.optgptq.kernels.gpu.ops.GpuCacheOps;
import dev.optgptq.kernels.gpu.ops.GpuDeltaOps;
import dev.optgptq.kernels.gpu.ops.GpuFloat64Ops;
import dev.optgptq.kernels.gpu.ops.GpuFusedOps;
import dev.optgptq.kernels.gpu.ops.GpuGradientOps;
import dev.optgptq.kernels.gpu.ops.GpuMatrixOps;
import dev.optgptq.kernels.gpu.ops.GpuMixtureOps;
import dev.optgptq.kernels.gpu.ops.GpuNeuralOps;
import dev.optgptq.kernels.gpu.ops.GpuQuantOps;
import dev.optgptq.kernels.gpu.ops.GpuTuningOps;
import dev.optgptq.kernels.gpu.rtc.KernelCompiler;
import dev.optgptq.kernels.gpu.rtc.KernelSource;
import dev.optgptq.kernels.gpu.rtc.RuntimeCompiler;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;
import org.opentest4j.TestAbortedException;

/**
 * The SIMT emulator as a HIP runtime. It is built into target/emulator when it is first asked for; the tests that ask are
 * skipped where there is no g++ or the machine is not x86-64 Linux. While one is open, HIP is that library.
 */
public final class Emulator implements AutoCloseable {

    private static final String LIBRARY = "opt-gptq.hip.lib";
    private static final Path SOURCES = Path.of("src/test/emulator");
    private static final long MINUTES = 5;

    private final GpuDriver driver;
    private final KernelCompiler compiler;

    private final SymbolLookup symbols;

    private Emulator(Path library) {
        System.setProperty(LIBRARY, library.toString());
        driver = GpuDrivers.hip();
        compiler = RuntimeCompiler.of("hip");
        symbols = SymbolLookup.libraryLookup(library, Arena.global());
    }

    /** @param wave threads that run in step, 64 or 32 */
    public static Emulator open(int wave) {
        return new Emulator(library(wave));
    }

    /** What is loaded in place of libamdhip64.so. */
    public static Path library(int wave) {
        boolean here = System.getProperty("os.name").equals("Linux") && System.getProperty("os.arch").equals("amd64");
        Assumptions.assumeTrue(here && hasCompiler(), "the GPU emulator needs g++ on x86-64 Linux; not tested here");
        return Built.FOLDER.resolve("libhip-emulator-" + wave + ".so");
    }

    private static boolean hasCompiler() {
        String chosen = System.getenv().getOrDefault("GXX", "g++");
        for (String folder : System.getenv().getOrDefault("PATH", "").split(File.pathSeparator, -1)) {
            if (Files.isExecutable(Path.of(folder, chosen))) {
                return true;
            }
        }
        return Files.isExecutable(Path.of(chosen));
    }

    /** Once for all tests of this JVM. */
    private static final class Built {
        static final Path FOLDER = build();

        private static Path build() {
            Path target = Path.of("target/emulator").toAbsolutePath();
            try {
                Process make = new ProcessBuilder("make", "-s", "-C", SOURCES.toString(), "TARGET=" + target)
                        .inheritIO().start();
                if (!make.waitFor(MINUTES, TimeUnit.MINUTES) || make.exitValue() != 0) {
                    throw new IllegalStateException("the emulator does not build, see above");
                }
                return target;
            } catch (IOException e) {
                throw new TestAbortedException("the GPU emulator needs make; not tested here", e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(e);
            }
        }
    }

    /** The first of its devices, which count as different cards. */
    public GpuDevice device() {
        return device(context(0));
    }

    /** The same with a matrix library. */
    public GpuDevice device(Function<GpuContext, @Nullable GpuBlas> blas) {
        return device(new GpuContext(driver, 0, compiler, blas));
    }

    /** A device over a context, which it takes over. */
    public static GpuDevice device(GpuContext context) {
        return new GpuDevice(context, context.info().name(), new GpuNeuralOps(context), new GpuMatrixOps(context),
                new GpuQuantOps(context), new GpuGradientOps(context), new GpuTuningOps(context),
                new GpuMixtureOps(context), new GpuDeltaOps(context), new GpuCacheOps(context),
                new GpuFusedOps(context),
                new GpuFloat64Ops(context));
    }

    public GpuContext context(int ordinal) {
        return new GpuContext(driver, ordinal, compiler, context -> null);
    }

    /**
     * Runs a kernel named broken, with the arguments (float* out, int n), on one block of n threads. A failure is thrown,
     * and the device is as new afterwards.
     *
     * @param seed of the order of the threads
     */
    float[] run(String source, int n, long seed) {
        byte[] image = compiler.compile(KernelSource.of("broken", source), driver.info(0));
        driver.makeCurrent(0);
        seed(seed);
        long out = driver.allocate(n * 4L);
        try (Arena arena = Arena.ofConfined()) {
            long module = driver.loadModule(arena.allocateFrom(JAVA_BYTE, image));
            MemorySegment parameters = arena.allocate(ADDRESS, 2);
            parameters.setAtIndex(ADDRESS, 0, arena.allocateFrom(JAVA_LONG, out));
            parameters.setAtIndex(ADDRESS, 1, arena.allocateFrom(JAVA_INT, n));
            driver.launch(driver.function(module, "broken"), new GpuDriver.Grid(1, 1, 1, n), 0, 0, parameters);
            MemorySegment host = arena.allocate(JAVA_FLOAT, n);
            driver.copyToHost(host, out, 0);
            driver.unloadModule(module);
            return host.toArray(JAVA_FLOAT);
        } finally {
            reset();
            driver.free(out);
        }
    }

    /** All devices are as new, though one was lost. */
    void reset() {
        call("hipDeviceReset", FunctionDescriptor.of(JAVA_INT));
    }

    /** Sets the order in which threads and streams run from now on. */
    public void seed(long seed) {
        call("emulator_seed", FunctionDescriptor.ofVoid(JAVA_LONG), seed);
    }

    private void call(String function, FunctionDescriptor type, Object... arguments) {
        try {
            Linker.nativeLinker().downcallHandle(symbols.findOrThrow(function), type).invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new IllegalStateException(function, e);
        }
    }

    @Override
    public void close() {
        System.clearProperty(LIBRARY);
    }
}
