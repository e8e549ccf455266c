package dev.optgptq.kernels.gpu.rtc;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.ffm.NativeLibrary.Search;
import dev.optgptq.kernels.ffm.NativeLibrary;
import dev.optgptq.kernels.gpu.driver.GpuDriver.DeviceInfo;
import dev.optgptq.kernels.gpu.driver.GpuDrivers;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * One of the two run-time compilers: where it is found, and its spelling of the common options.
 *
 * @param api the driver's that loads its code, hip or cuda
 * @param prefix of its functions
 * @param codeCall the name part of the calls that return the compiled code
 * @param flags contraction off and the rest that {@link KernelCompiler} promises, in its spelling
 */
record Rtc(String api, String prefix, String codeCall, Search search, List<String> flags) {

    static final Rtc HIP = new Rtc("hip", "hiprtc", "Code",
            new Search("HIP run-time compiler", new EnvironmentSetting("hiprtc.lib"),
                    List.of("libhiprtc.so.7", "libhiprtc.so.6", "libhiprtc.so.5", "libhiprtc.so",
                            "/opt/dtk/hip/lib/libhiprtc.so", "/opt/rocm/lib/libhiprtc.so")),
            List.of("-O3", "-std=c++17", "-ffp-contract=off", "-DGPU_HIP=1"));

    static final Rtc CUDA = new Rtc("cuda", "nvrtc", "CUBIN",
            new Search("CUDA run-time compiler", new EnvironmentSetting("nvrtc.lib"),
                    List.of("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "libnvrtc.so.11.2",
                            "/usr/local/cuda/lib64/libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so.13",
                            "/usr/local/cuda/lib64/libnvrtc.so.12")),
            List.of("--std=c++17", "--fmad=false", "-DGPU_CUDA=1"));

    /** The compiler of a driver's api. */
    static Rtc of(String api) {
        return api.equals("hip") ? HIP : CUDA;
    }

    /**
     * Finds and loads it. Up to ROCm 6 and in DTK the HIP runtime library holds the compiler, and that one always fits.
     * UserError DEVICE when there is none.
     */
    NativeLibrary load() {
        if (api.equals("hip") && search.setting().value().isEmpty()) {
            NativeLibrary runtime = NativeLibrary.load(GpuDrivers.HIP);
            if (runtime.has(prefix + "CreateProgram")) {
                return runtime;
            }
        }
        return NativeLibrary.load(search);
    }

    /** All options for a device. */
    List<String> options(DeviceInfo device) {
        List<String> options = new ArrayList<>(List.of("--gpu-architecture=" + device.architecture(),
                "-DGPU_WAVE=" + device.waveWidth()));
        options.addAll(flags);
        return options;
    }

    /**
     * Identifies a library's build: version, file, size and time of change. The version alone does not: hiprtc reports
     * 9.0 in every build of HIP 5.
     */
    String identity(NativeLibrary library) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment major = arena.allocate(JAVA_INT);
            MemorySegment minor = arena.allocate(JAVA_INT);
            int status = (int) library.function(prefix + "Version", JAVA_INT, ADDRESS, ADDRESS).invokeExact(major,
                    minor);
            Path file = library.realFile();
            return prefix + " " + (status == 0 ? major.get(JAVA_INT, 0) + "." + minor.get(JAVA_INT, 0) : "?") + " "
                    + file + " " + Files.size(file) + " " + Files.getLastModifiedTime(file);
        } catch (IOException e) {
            throw new UserError(UserError.Code.DEVICE, library.file() + " cannot be read: " + e.getMessage(), e);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
