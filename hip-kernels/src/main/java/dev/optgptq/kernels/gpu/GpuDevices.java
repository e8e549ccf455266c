package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices.Candidate;
import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.gpu.blas.GpuBlasLibraries;
import dev.optgptq.kernels.gpu.driver.GpuDriver.DeviceInfo;
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
import dev.optgptq.kernels.gpu.rtc.RuntimeCompiler;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Finds and opens the GPUs of one api, hip or cuda. */
public final class GpuDevices {

    /** Architecture to compile for, if a driver reports none or one that its compiler does not know. */
    public static final EnvironmentSetting ARCHITECTURE = new EnvironmentSetting("arch");

    private GpuDevices() {}

    /** All of its devices as hip:0, hip:1 and so on; one entry named after the api when there are none, saying why. */
    public static List<Candidate> list(String api) {
        List<Candidate> found = new ArrayList<>();
        try {
            GpuDriver driver = driver(api);
            RuntimeCompiler.of(api);
            for (int ordinal = 0; ordinal < driver.deviceCount(); ordinal++) {
                found.add(new Candidate(api + ":" + ordinal, true, describe(info(driver, ordinal))));
            }
        } catch (UserError e) {
            found.add(new Candidate(api, false, String.valueOf(e.getMessage())));
        }
        return found;
    }

    /** Opens a device. UserError DEVICE when it is not there or cannot be used. */
    public static GpuDevice open(String api, int ordinal) {
        return open(driver(api), ordinal);
    }

    /**
     * Opens several devices, which can copy from each other. UserError DEVICE when one of them is not there or cannot be used.
     *
     * @param ordinals empty for all there are
     */
    public static List<Device> open(String api, List<Integer> ordinals) {
        GpuDriver driver = driver(api);
        List<Integer> wanted = ordinals.isEmpty()
                ? IntStream.range(0, driver.deviceCount()).boxed().toList()
                : ordinals;
        List<Device> opened = new ArrayList<>();
        try {
            for (int ordinal : wanted) {
                opened.add(open(driver, ordinal));
            }
            return opened;
        } catch (RuntimeException e) {
            Closing.all(opened.stream().<Runnable>map(device -> device::close).toList());
            throw e;
        }
    }

    private static GpuDevice open(GpuDriver driver, int ordinal) {
        String api = driver.api();
        if (ordinal >= driver.deviceCount()) {
            throw new UserError(UserError.Code.DEVICE, "device " + api + ":" + ordinal + ": there are "
                    + driver.deviceCount() + ", counted from 0 (" + driver.description() + ")");
        }
        DeviceInfo info = info(driver, ordinal);
        AtomicReference<String> noBlas = new AtomicReference<>("");
        GpuContext context = new GpuContext(driver, ordinal, info, RuntimeCompiler.of(api),
                opened -> blas(opened, noBlas));
        GpuBlas blas = context.blas();
        String products = blas == null ? "own matmul kernel, since " + noBlas.get() : blas.description();
        return new GpuDevice(context, describe(info) + "; " + driver.description() + "; " + products,
                new GpuNeuralOps(context), new GpuMatrixOps(context), new GpuQuantOps(context),
                new GpuGradientOps(context), new GpuTuningOps(context), new GpuMixtureOps(context),
                new GpuDeltaOps(context), new GpuCacheOps(context), new GpuFusedOps(context),
                new GpuFloat64Ops(context));
    }

    private static @Nullable GpuBlas blas(GpuContext context, AtomicReference<String> reason) {
        try {
            return GpuBlasLibraries.open(context);
        } catch (UserError e) {
            if (e.code() == UserError.Code.DEVICE_LOST) {
                throw e;
            }
            // A missing library is not a failure: there is our own kernel. The device's description says so.
            reason.set(String.valueOf(e.getMessage()));
            return null;
        }
    }

    private static GpuDriver driver(String api) {
        return api.equals("hip") ? GpuDrivers.hip() : GpuDrivers.cuda();
    }

    private static DeviceInfo info(GpuDriver driver, int ordinal) {
        DeviceInfo info = driver.info(ordinal);
        String architecture = ARCHITECTURE.value().orElse(info.architecture());
        if (architecture.isEmpty()) {
            throw new UserError(UserError.Code.DEVICE, "device " + driver.api() + ":" + ordinal + " (" + info.name()
                    + "): the driver does not name its architecture; set it with "
                    + ARCHITECTURE.variable() + ", such as gfx906");
        }
        return info.compiledFor(architecture);
    }

    private static String describe(DeviceInfo info) {
        return String.format(Locale.ROOT, "%s, %s, waves of %d, %d compute units, %.1f GiB", info.name(),
                info.architecture(), info.waveWidth(), info.multiprocessors(), info.memory() / 0x1p30);
    }
}
