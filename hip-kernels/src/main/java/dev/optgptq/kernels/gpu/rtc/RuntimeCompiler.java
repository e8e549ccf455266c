package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.formats.natives.CacheFolder;
import dev.optgptq.kernels.gpu.driver.GpuDriver.DeviceInfo;
import java.io.IOException;
import java.lang.System.Logger;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Compiles for the installed GPU, once: the code is cached on disk under a hash of the source, the options,
 * the architecture and the compiler's build.
 */
public final class RuntimeCompiler implements KernelCompiler {

    private static final Logger LOG = System.getLogger(RuntimeCompiler.class.getName());

    private final Rtc rtc;
    private final ChildCompiler child;
    private final String identity;
    private final Optional<KernelCache> cache;

    private RuntimeCompiler(Rtc rtc, String identity, Optional<KernelCache> cache) {
        this.rtc = rtc;
        this.child = new ChildCompiler(rtc);
        this.identity = identity;
        this.cache = cache;
    }

    /** The compiler of a driver's api, with the user's cache. UserError DEVICE when there is no compiler. */
    public static RuntimeCompiler of(String api) {
        Rtc rtc = Rtc.of(api);
        return new RuntimeCompiler(rtc, rtc.identity(rtc.load()), usersCache());
    }

    private static Optional<KernelCache> usersCache() {
        try {
            return Optional.of(new KernelCache(CacheFolder.of(System::getenv).resolve("kernels")));
        } catch (IOException e) {
            LOG.log(Logger.Level.WARNING, "each start compiles the kernels again: " + e.getMessage());
            return Optional.empty();
        }
    }

    @Override
    public byte[] compile(KernelSource source, DeviceInfo device) {
        List<String> options = rtc.options(device);
        Supplier<byte[]> compilation = () -> child.compile(source, options);
        KernelCache.Key key = KernelCache.Key.of(source.name() + "-" + device.architecture(),
                List.of(source.text(), String.join("\n", options), identity));
        return cache.map(kept -> kept.get(key, compilation)).orElseGet(compilation);
    }

    /** The compiler's version and file. */
    @Override
    public String toString() {
        return identity;
    }
}
