package dev.optgptq.kernels.contract;

/** Waves of 32. Where operands lie is settled by those of 64. */
class EmulatorContract32Test extends EmulatorContract {

    EmulatorContract32Test() {
        super(32, Placement.STRIDED);
    }
}
