package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class BenchModeTest {

    private final Device device = Devices.open("cpu", 2);

    @AfterAll
    void close() {
        device.close();
    }

    @TestFactory
    Stream<DynamicTest> aBenchCaseOfEveryOpRuns() {
        Set<String> seen = new HashSet<>();
        return ContractSuite.bench().filter(opCase -> seen.add(opCase.op()))
                .map(opCase -> DynamicTest.dynamicTest(opCase.toString(), () -> {
                    assertTrue(opCase.work().isDeclared(), "declares no work");
                    BenchMode.Measurement measured = BenchMode.measure(device, opCase, 0, 1);
                    assertTrue(measured.rate() > 0 && Double.isFinite(measured.rate()), measured::line);
                }));
    }
}
