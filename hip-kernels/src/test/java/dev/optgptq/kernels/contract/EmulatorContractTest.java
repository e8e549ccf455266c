package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.emulator.Emulator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

/** Test mode on the GPU's code path: every case on the emulator, wave 64 and wave 32, in every placement. */
class EmulatorContractTest {

    @Nested
    class Wave64 extends OnWave {
        Wave64() {
            super(64);
        }
    }

    @Nested
    class Wave32 extends OnWave {
        Wave32() {
            super(32);
        }
    }

    @TestInstance(TestInstance.Lifecycle.PER_CLASS)
    abstract static class OnWave {

        private final int wave;
        private Emulator emulator;
        private Device device;

        OnWave(int wave) {
            this.wave = wave;
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
                if (Runner.lacks(opCase, device)) {
                    return;
                }
                Runner.Outcome expected = Runner.expected(opCase);
                for (Placement placement : Placement.values()) {
                    Runner.Outcome actual = Runner.run(opCase, device, placement);
                    Runner.compare(opCase, Runner.describe(opCase, device, placement), expected, actual);
                }
            }));
        }
    }
}
