package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.kernels.Devices;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "devices", mixinStandardHelpOptions = true, header = "List what can compute here, and why the rest cannot.", description = "")
final class DevicesCommand implements Callable<Integer> {

    private final Console console;

    DevicesCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        TextTable table = TextTable.of("device", "usable", "");
        for (Devices.Candidate device : Devices.list()) {
            table.row(device.name(), device.usable() ? "yes" : "no", device.detail());
        }
        console.print(table.text(""));
        return ExitCode.DONE;
    }
}
