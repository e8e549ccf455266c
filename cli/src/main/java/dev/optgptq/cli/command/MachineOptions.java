package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where to compute. */
final class MachineOptions {

    private static final int MOST_THREADS = 1024;
    private static final Set<String> NO_GPU = Set.of("cpu", "reference");

    @Option(names = "--device", paramLabel = "NAME", description = {
            "auto, cpu, hip, hip:N, hip:0,1, hip:all, the same with cuda, or reference; 'opt-gptq devices' lists them. auto: a GPU if "
                    + "there is one, else cpu. Several GPUs share the work of quantize and eval perplexity, and the "
                    + "result is the same as with one. reference: the slow definition of the arithmetic, for "
                    + "checking. Default: auto"})
    private String device = "auto";

    @Option(names = "--threads", paramLabel = "N", description = "Worker threads; the result does not depend on it. "
            + "Default: one per core")
    private @Nullable Integer threads;

    @Option(names = "--arch", paramLabel = "NAME", description = "Architecture to compile GPU kernels for, such as "
            + "gfx906 or sm_90, if the driver reports none or one that the compiler does not know. Default: the "
            + "device's own")
    private @Nullable String architecture;

    /** UserError BAD_SETTING for a number out of range. */
    int threads() {
        if (threads == null) {
            return Runtime.getRuntime().availableProcessors();
        }
        SettingChecks.require(threads >= 1 && threads <= MOST_THREADS, "--threads", threads, "1 to " + MOST_THREADS);
        return threads;
    }

    /**
     * Opens the devices that were named.
     *
     * @param log receives what auto stands for
     */
    DeviceGroup openGroup(Consumer<String> log) {
        if (device.equals("auto") || NO_GPU.contains(device)) {
            return DeviceGroup.of(open(log));
        }
        compileForArchitecture(log);
        return Devices.openGroup(device, threads());
    }

    /**
     * Opens the one device that was named.
     *
     * @param log receives what auto stands for
     */
    Device open(Consumer<String> log) {
        compileForArchitecture(log);
        if (!device.equals("auto")) {
            return Devices.open(device, threads());
        }
        Devices.Choice choice = Devices.choose();
        Device opened = Devices.open(choice.name(), threads());
        log.accept("device " + choice.name() + ": " + (choice.name().equals("cpu")
                ? "no GPU can be used, 'opt-gptq devices' says why"
                : opened.description()));
        return opened;
    }

    private void compileForArchitecture(Consumer<String> log) {
        if (architecture != null && NO_GPU.contains(device)) {
            log.accept("warning: --arch does nothing with --device " + device + ", which compiles no kernels");
        } else if (architecture != null) {
            Devices.compileFor(architecture);
        }
    }
}
