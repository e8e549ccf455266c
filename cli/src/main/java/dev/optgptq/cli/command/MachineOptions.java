package dev.optgptq.cli.command;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where to compute. */
final class MachineOptions {

    @Option(names = "--device", paramLabel = "NAME", description = {
            "auto, cpu or reference; 'opt-gptq devices' says what is there. "
                    + "reference is the slow definition of the arithmetic, for checking. Default: auto"})
    private String device = "auto";

    @Option(names = "--threads", paramLabel = "N", description = "Worker threads; the result is the same with any number. "
            + "Default: one per core")
    private @Nullable Integer threads;

    int threads() {
        return threads == null ? Runtime.getRuntime().availableProcessors() : threads;
    }

    Device open() {
        return Devices.open(device, threads());
    }
}
