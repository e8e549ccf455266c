package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;

/** A compiled kernel source on one device, and its functions by name. */
public final class KernelModule {

    private final GpuContext context;
    private final String name;
    private final long module;
    private final Map<String, Kernel> kernels = new HashMap<>();

    private KernelModule(GpuContext context, String name, long module) {
        this.context = context;
        this.name = name;
        this.module = module;
    }

    /** @param image what the compiler made */
    static KernelModule load(GpuContext context, String name, byte[] image) {
        try (Arena arena = Arena.ofConfined()) {
            // 16: the loaders read ELF structures in place.
            var aligned = arena.allocate(image.length, 16);
            aligned.asByteBuffer().put(image);
            return new KernelModule(context, name, context.driver().loadModule(aligned));
        }
    }

    /** The function of that name, declared extern "C" __global__ in the source. UserError DEVICE when there is none. */
    public Kernel kernel(String function) {
        return kernels.computeIfAbsent(function,
                key -> new Kernel(context, name + "." + key, context.driver().function(module, key)));
    }

    void unload(GpuDriver driver) {
        driver.unloadModule(module);
    }
}
