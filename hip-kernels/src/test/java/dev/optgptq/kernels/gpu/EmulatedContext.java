package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.emulator.Emulator;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import dev.optgptq.kernels.gpu.driver.GpuDrivers;
import dev.optgptq.kernels.gpu.rtc.KernelSource;
import dev.optgptq.kernels.gpu.rtc.RuntimeCompiler;
import java.util.function.UnaryOperator;

/** A context on the emulator, for the length of a test. */
final class EmulatedContext implements AutoCloseable {

    /** Little, as the emulator writes to all that it hands out. */
    private static final String MEMORY_MIB = "256";

    private final Emulator emulator;
    private final GpuContext context;

    private EmulatedContext(Emulator emulator, GpuContext context) {
        this.emulator = emulator;
        this.context = context;
    }

    static EmulatedContext open() {
        return open(driver -> driver);
    }

    /** @param around wraps the driver */
    static EmulatedContext open(UnaryOperator<GpuDriver> around) {
        Emulator emulator = Emulator.open(64);
        NativeEnvironment.set("OPT_GPTQ_EMULATOR_MEMORY_MIB", MEMORY_MIB);
        GpuDriver driver = around.apply(GpuDrivers.hip());
        return new EmulatedContext(emulator,
                new GpuContext(driver, 0, RuntimeCompiler.of("hip"), context -> null));
    }

    GpuContext context() {
        return context;
    }

    /** Sets the order in which streams run from now on. */
    void seed(long seed) {
        emulator.seed(seed);
    }

    /** A kernel of a source written in the test. */
    Kernel kernel(String name, String source) {
        return context.module(name, () -> KernelSource.of(name, "#include \"portability.h\"\n" + source)).kernel(name);
    }

    @Override
    public void close() {
        try {
            context.close();
        } finally {
            NativeEnvironment.unset("OPT_GPTQ_EMULATOR_MEMORY_MIB");
            emulator.close();
        }
    }
}
