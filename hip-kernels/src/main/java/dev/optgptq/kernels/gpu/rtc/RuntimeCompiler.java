package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.kernels.ffm.CacheFolder;
import dev.optgptq.kernels.gpu.driver.GpuDriver.DeviceInfo;
import java.nio.file.Path;
import java.util.List;

/**
 * Compiles for the card that is there, once: what was compiled is kept on disk under a hash of the source, the options,
 * the architecture and the compiler's build.
 */
public final class RuntimeCompiler implements KernelCompiler {

    private final Rtc rtc;
    private final String identity;
    private final KernelCache cache;

    private RuntimeCompiler(Rtc rtc, String identity, KernelCache cache) {
        this.rtc = rtc;
        this.identity = identity;
        this.cache = cache;
    }

    /** The compiler of a driver's api, with the user's cache. UserError DEVICE when there is no compiler. */
    public static RuntimeCompiler of(String api) {
        return of(api, CacheFolder.of(System::getenv).resolve("kernels"));
    }

    static RuntimeCompiler of(String api, Path cache) {
        Rtc rtc = Rtc.of(api);
        return new RuntimeCompiler(rtc, rtc.identity(rtc.library()), new KernelCache(cache));
    }

    @Override
    public byte[] compile(KernelSource source, DeviceInfo device) {
        List<String> options = rtc.options(device);
        KernelCache.Key key = KernelCache.Key.of(source.name() + "-" + device.architecture(),
                List.of(source.text(), String.join("\n", options), identity));
        return cache.get(key, () -> new ChildCompiler(rtc).compile(source, options));
    }

    /** The compiler's version and file. */
    @Override
    public String toString() {
        return identity;
    }

}
