package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.SelfTest;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "devices", mixinStandardHelpOptions = true, header = "List the compute devices, and why others cannot be used.", description = {
        "",
        "Opens each usable device and compares its arithmetic with the reference. Exit code 1 when one fails."}, footer = {
                "",
                "Example:", "  opt-gptq devices"})
final class DevicesCommand implements Callable<Integer> {

    private final Console console;

    DevicesCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        List<Devices.Candidate> devices = Devices.list();
        TextTable table = TextTable.of("device", "usable", "");
        for (Devices.Candidate device : devices) {
            table.row(device.name(), device.usable() ? "yes" : "no", device.detail());
        }
        console.print(table.text(""));
        boolean sound = true;
        for (Devices.Candidate device : devices) {
            if (device.usable() && !device.name().equals("reference")) {
                sound &= test(device.name());
            }
        }
        console.print("auto is " + Devices.choose().name() + "\n");
        return sound ? ExitCode.DONE : ExitCode.FAILED;
    }

    /** Opens a device and compares its results with the reference. */
    private boolean test(String name) {
        try (Device device = Devices.open(name, Runtime.getRuntime().availableProcessors())) {
            SelfTest.Result result = SelfTest.run(device);
            console.print(name + ": " + device.description() + "; self-test " + result.detail() + "\n");
            return result.passed();
        } catch (UserError e) {
            console.print(name + ": self-test FAILED: " + e.getMessage() + "\n");
            return false;
        }
    }
}
