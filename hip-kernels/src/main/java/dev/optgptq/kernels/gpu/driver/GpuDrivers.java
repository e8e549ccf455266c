package dev.optgptq.kernels.gpu.driver;

import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.ffm.NativeLibrary.Search;
import dev.optgptq.kernels.ffm.NativeLibrary;
import java.util.List;

/** Finds the vendors' runtimes. */
public final class GpuDrivers {

    /**
     * The HIP runtime. Hygon's first: DTK ships links named libamdhip64 too, and AMD's own does not work with Hygon's
     * kernel driver. Versions are tried newest first; the calls used are the same in all.
     */
    public static final Search HIP = new Search("HIP runtime", new EnvironmentSetting("hip.lib"),
            List.of("libgalaxyhip.so.5", "libgalaxyhip.so", "/opt/dtk/hip/lib/libgalaxyhip.so.5",
                    "/opt/dtk/hip/lib/libgalaxyhip.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5",
                    "libamdhip64.so", "/opt/rocm/lib/libamdhip64.so"));

    /** The CUDA driver, which comes with the kernel driver and not with the toolkit. */
    public static final Search CUDA = new Search("CUDA driver", new EnvironmentSetting("cuda.lib"),
            List.of("libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"));

    private GpuDrivers() {}

    /** UserError DEVICE when there is no library, no driver or no device, with the reason. */
    public static GpuDriver hip() {
        NativeLibrary library = NativeLibrary.load(HIP);
        return new NativeDriver(library, new HipApi(library));
    }

    /** UserError DEVICE when there is no library, no driver or no device, with the reason. */
    public static GpuDriver cuda() {
        NativeLibrary library = NativeLibrary.load(CUDA);
        return new NativeDriver(library, new CudaApi(library));
    }
}
