package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.SelfTest;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;

/**
 * Test mode as a program, for a machine that has a card and no build: the whole suite on one device, in every placement.
 * Arguments: a device, then parts of op names, all when there are none. Exits with 1 when a case fails.
 */
public final class ContractMain {

    private ContractMain() {}

    /** For example {@code cuda:0 linear gram}. */
    public static void main(String[] args) {
        String name = args.length > 0 ? args[0] : "auto";
        List<String> wanted = args.length > 1 ? List.of(args).subList(1, args.length) : List.of("");
        try (Device device = Devices.open(name, Runtime.getRuntime().availableProcessors())) {
            System.out.println(device.name() + ": " + device.description());
            System.out.println("self-test " + SelfTest.run(device).detail());
            System.exit(run(device, wanted, System.out) == 0 ? 0 : 1);
        }
    }

    /** How many runs failed; each is printed. A device that was lost ends it by its exception. */
    static int run(Device device, List<String> wanted, PrintStream out) {
        List<OpCase> cases = ContractSuite.cases().filter(opCase -> wanted.stream()
                .anyMatch(part -> opCase.op().toLowerCase(Locale.ROOT).contains(part.toLowerCase(Locale.ROOT))))
                .toList();
        int failed = 0;
        for (OpCase opCase : cases) {
            Runner.Outcome expected = Runner.expected(opCase);
            for (Placement placement : Placement.values()) {
                try {
                    Runner.compare(opCase, Runner.describe(opCase, device, placement), expected,
                            Runner.run(opCase, device, placement));
                } catch (AssertionError e) {
                    failed++;
                    out.println("FAILED " + e.getMessage());
                }
            }
        }
        out.println(cases.size() + " cases in " + Placement.values().length + " placements on " + device.name() + ", "
                + failed + " failed");
        return failed;
    }
}
