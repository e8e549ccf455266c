package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.contract.OpCase.Operand;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.DeltaOps;
import dev.optgptq.kernels.ops.Float64Ops;
import dev.optgptq.kernels.ops.FusedOps;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.MatrixOps;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.ops.QuantOps;
import dev.optgptq.kernels.ops.TuningOps;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Test mode: every case on every device, in every placement. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ContractTest {

    /** Opened once: a GPU's device loads libraries and kernels. */
    private final List<Device> devices = new ArrayList<>();
    /** The CPU with 1, 2 and 3 threads. */
    private final List<Device> byThreads = new ArrayList<>();

    @BeforeAll
    void openEveryDeviceThatIsHere() {
        for (Devices.Candidate candidate : Devices.list()) {
            if (candidate.usable()) {
                devices.add(Devices.open(candidate.name(), 2));
            }
        }
        for (int threads = 1; threads <= 3; threads++) {
            byThreads.add(Devices.open("cpu", threads));
        }
    }

    @AfterAll
    void closeThem() {
        devices.forEach(Device::close);
        byThreads.forEach(Device::close);
    }

    @TestFactory
    Stream<DynamicTest> everyDeviceAgreesWithTheReferenceWhereverTheOperandsLie() {
        return ContractSuite.cases().map(opCase -> DynamicTest.dynamicTest(opCase.toString(), () -> {
            Runner.Outcome expected = Runner.expected(opCase);
            for (Device device : devices) {
                for (Placement placement : Placement.values()) {
                    Runner.Outcome actual = Runner.run(opCase, device, placement);
                    Runner.compare(opCase, Runner.describe(opCase, device, placement), expected, actual);
                }
            }
        }));
    }

    @TestFactory
    Stream<DynamicTest> theBitsDoNotDependOnTheNumberOfThreads() {
        return ContractSuite.cases().map(opCase -> DynamicTest.dynamicTest(opCase.toString(), () -> {
            Runner.Outcome single = runOnCpu(opCase, 1);
            for (int threads = 2; threads <= byThreads.size(); threads++) {
                Runner.Outcome several = runOnCpu(opCase, threads);
                for (Operand operand : opCase.operands()) {
                    String what = opCase + ", seed " + opCase.seed() + ": " + operand.name() + " with 1 and " + threads
                            + " threads differ first at byte";
                    assertEquals(-1, single.bytes(operand).mismatch(several.bytes(operand)), what);
                }
            }
        }));
    }

    private Runner.Outcome runOnCpu(OpCase opCase, int threads) {
        return Runner.run(opCase, byThreads.get(threads - 1), Placement.DENSE);
    }

    @ParameterizedTest
    @ValueSource(classes = {MatrixOps.class, NeuralOps.class, QuantOps.class, GradientOps.class, TuningOps.class,
            MixtureOps.class, DeltaOps.class, CacheOps.class, FusedOps.class, Float64Ops.class})
    void everyOpHasACaseAndABenchCase(Class<?> opSet) {
        // Bodies of lambdas in default methods are methods too.
        Set<String> ops = Arrays.stream(opSet.getDeclaredMethods()).filter(method -> !method.isSynthetic())
                .map(Method::getName).collect(Collectors.toSet());
        Set<String> tested = ContractSuite.cases().map(OpCase::op).collect(Collectors.toSet());
        Set<String> benched = ContractSuite.bench().map(OpCase::op).collect(Collectors.toSet());
        assertTrue(tested.containsAll(ops), () -> "no case for " + minus(ops, tested));
        assertTrue(benched.containsAll(ops), () -> "no bench case for " + minus(ops, benched));
    }

    private static Set<String> minus(Set<String> all, Set<String> some) {
        return all.stream().filter(op -> !some.contains(op)).collect(Collectors.toSet());
    }
}
