package dev.optgptq.kernels.contract;

import java.util.List;

/** The cases of QuantOps. */
final class QuantCases {

    private QuantCases() {}

    static List<OpCase> cases() {
        return List.of();
    }

    static List<OpCase> bench() {
        return List.of();
    }
}
