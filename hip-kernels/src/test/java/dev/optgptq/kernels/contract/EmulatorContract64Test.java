package dev.optgptq.kernels.contract;

/** Waves of 64, in every placement of the operands. */
class EmulatorContract64Test extends EmulatorContract {

    EmulatorContract64Test() {
        super(64, Placement.values());
    }
}
