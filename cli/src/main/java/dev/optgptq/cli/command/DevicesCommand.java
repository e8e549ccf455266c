package dev.optgptq.cli.command;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.kernels.Devices;
import picocli.CommandLine.Command;
import picocli.CommandLine.ParentCommand;

@Command(name = "devices", mixinStandardHelpOptions = true, description = "Lists the compute devices, with what each is "
        + "or why it cannot be used.")
final class DevicesCommand implements Runnable {

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private OptGptq root;

    @Override
    public void run() {
        TextTable table = TextTable.of("device", "usable", "what it is, or why not");
        Devices.list().forEach(device -> table.row(device.name(), device.usable() ? "yes" : "no", device.detail()));
        root.console().out().print(table.text(""));
        root.console().out().flush();
    }
}
