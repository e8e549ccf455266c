package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.contract.OpCase.Operand.Role;
import dev.optgptq.kernels.contract.OpCase.Operand;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;

/** Runs a case on a device and compares the results. */
final class Runner {

    private Runner() {}

    /** The operands after the call, by name. */
    record Outcome(Map<String, HostMatrix> operands) {

        MemorySegment bytes(Operand operand) {
            return find(operands, operand.name()).bytes();
        }
    }

    /** What the definition gives. */
    static Outcome expected(OpCase opCase) {
        try (Device reference = Devices.open("reference", 1)) {
            return run(opCase, reference, Placement.DENSE);
        }
    }

    /** Runs the case and checks what every op promises: inputs and margins stay as they were. */
    static Outcome run(OpCase opCase, Device device, Placement placement) {
        String where = describe(opCase, device, placement);
        try (TensorArena arena = device.arena()) {
            Map<String, Placement.Placed> placed = new LinkedHashMap<>();
            Map<String, HostMatrix> before = new LinkedHashMap<>();
            for (Operand operand : opCase.operands()) {
                HostMatrix content = operand.fill(opCase.seed());
                before.put(operand.name(), content);
                placed.put(operand.name(), placement.place(device, arena, operand, content));
            }
            opCase.call().run(device, name -> find(placed, name).tensor());
            Map<String, HostMatrix> after = new LinkedHashMap<>();
            for (Operand operand : opCase.operands()) {
                HostMatrix result = HostMatrix.empty(operand.dtype(), operand.rows(), operand.columns());
                device.download(find(placed, operand.name()).tensor(), result.bytes());
                after.put(operand.name(), result);
                assertTrue(find(placed, operand.name()).marginIsIntact(device),
                        () -> where + ": memory around " + operand.name() + " was written");
                if (operand.role() == Role.INPUT) {
                    assertEquals(-1, find(before, operand.name()).bytes().mismatch(result.bytes()),
                            () -> where + ": input " + operand.name() + " was written, first at byte");
                }
            }
            return new Outcome(after);
        }
    }

    /** Fails unless every output is within its tolerance. */
    static void compare(OpCase opCase, String where, Outcome expected, Outcome actual) {
        for (Operand operand : opCase.operands()) {
            if (operand.role() != Role.INPUT) {
                compare(where, operand, find(expected.operands(), operand.name()),
                        find(actual.operands(), operand.name()));
            }
        }
    }

    private static void compare(String where, Operand operand, HostMatrix expected, HostMatrix actual) {
        double largest = expected.largest();
        for (long i = 0; i < expected.rows() * expected.columns(); i++) {
            double want = expected.get(i);
            double got = actual.get(i);
            if (!operand.tolerance().accepts(want, got, largest)) {
                throw new AssertionError(where + ": " + operand.name() + "[" + i / operand.columns() + ", "
                        + i % operand.columns() + "]: expected " + want + ", found " + got + ", allowed difference "
                        + operand.tolerance().allowed(largest));
            }
        }
    }

    static String describe(OpCase opCase, Device device, Placement placement) {
        return opCase + " on " + device.name() + ", " + placement + ", seed " + opCase.seed();
    }

    private static <T> T find(Map<String, T> map, String name) {
        T found = map.get(name);
        if (found == null) {
            throw new IllegalArgumentException("no operand is called " + name + ", there are " + map.keySet());
        }
        return found;
    }
}
