package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.emulator.Emulator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

/**
 * Test mode on the GPU's code path: every case on the emulator. One class for each width of a wave, so that they run beside
 * each other.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class EmulatorContract {

    private final int wave;
    private final Placement[] placements;
    private Emulator emulator;
    private Device device;

    EmulatorContract(int wave, Placement... placements) {
        this.wave = wave;
        this.placements = placements;
    }

    @BeforeAll
    void open() {
        emulator = Emulator.open(wave);
        device = emulator.device();
    }

    @AfterAll
    void close() {
        if (device != null) {
            device.close();
            emulator.close();
        }
    }

    @TestFactory
    Stream<DynamicTest> theKernelsAgreeWithTheReferenceWhereverTheOperandsLie() {
        return ContractSuite.cases().map(opCase -> DynamicTest.dynamicTest(opCase.toString(), () -> {
            Runner.Outcome expected = Runner.expected(opCase);
            emulator.seed(opCase.seed());
            for (Placement placement : placements) {
                Runner.Outcome actual = Runner.run(opCase, device, placement);
                Runner.compare(opCase, Runner.describe(opCase, device, placement), expected, actual);
            }
        }));
    }

    @TestFactory
    Stream<DynamicTest> theBitsDoNotDependOnTheOrderOfTheThreads() {
        return Stream.of(GradientCases.cases(), NormGroupCases.cases(), GateCases.cases(),
                MixtureCases.cases(), DeltaCases.cases(), PackedCases.cases(),
                CacheCases.cases(), Float64Cases.cases(), AttentionMatrixCases.cases())
                .flatMap(List::stream)
                .map(opCase -> DynamicTest.dynamicTest(opCase.toString(), () -> {
                    Runner.Outcome first = runInOrder(opCase, opCase.seed());
                    Runner.Outcome second = runInOrder(opCase, opCase.seed() + 1);
                    for (OpCase.Operand operand : opCase.operands()) {
                        assertEquals(-1, first.bytes(operand).mismatch(second.bytes(operand)), () -> opCase
                                + ", seed " + opCase.seed() + ": " + operand.name() + " differs first at byte");
                    }
                }));
    }

    private Runner.Outcome runInOrder(OpCase opCase, long seed) {
        emulator.seed(seed);
        return Runner.run(opCase, device, Placement.DENSE);
    }
}
