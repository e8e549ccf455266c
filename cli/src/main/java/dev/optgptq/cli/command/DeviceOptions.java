package dev.optgptq.cli.command;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import picocli.CommandLine.Option;

/** Where to compute; the same for every command that does. */
final class DeviceOptions {

    @Option(names = "--device", paramLabel = "auto|cpu|reference", defaultValue = "auto", description = "where to "
            + "compute (default: ${DEFAULT-VALUE}); reference is the slow definition of every operation")
    private String device = "auto";

    @Option(names = "--threads", paramLabel = "N", description = "threads of the cpu (default: all cores); the result "
            + "does not depend on it")
    private int threads = Runtime.getRuntime().availableProcessors();

    Device open() {
        return Devices.open(device, threads);
    }
}
