package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** Support mode: a table of devices and ops, from running the first case of each op. */
public final class SupportMode {

    private SupportMode() {}

    /** Prints the table. */
    public static void main(String[] args) {
        System.out.print(table());
    }

    static String table() {
        List<Devices.Candidate> devices = Devices.list();
        Map<String, OpCase> firstCases = ContractSuite.cases()
                .collect(Collectors.toMap(OpCase::op, opCase -> opCase, (first, later) -> first, TreeMap::new));
        StringBuilder table = new StringBuilder(row("op", devices.stream().map(Devices.Candidate::name).toList()));
        firstCases.forEach((op, opCase) -> table
                .append(row(op, devices.stream().map(device -> support(device, opCase)).toList())));
        devices.stream().filter(device -> !device.usable())
                .forEach(device -> table.append(device.name()).append(": ").append(device.detail()).append('\n'));
        return table.toString();
    }

    private static String support(Devices.Candidate candidate, OpCase opCase) {
        if (!candidate.usable()) {
            return "-";
        }
        try (Device device = Devices.open(candidate.name(), 2)) {
            Runner.Outcome actual = Runner.run(opCase, device, Placement.DENSE);
            Runner.compare(opCase, opCase.toString(), Runner.expected(opCase), actual);
            return "yes";
        } catch (AssertionError e) {
            return "WRONG";
        }
    }

    private static String row(String op, List<String> cells) {
        return String.format("%-22s", op)
                + cells.stream().map(cell -> String.format("%-12s", cell)).collect(Collectors.joining()).stripTrailing()
                + "\n";
    }
}
