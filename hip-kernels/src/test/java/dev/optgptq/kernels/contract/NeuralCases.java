package dev.optgptq.kernels.contract;

import java.util.List;

/** The cases of NeuralOps. */
final class NeuralCases {

    private NeuralCases() {}

    static List<OpCase> cases() {
        return List.of();
    }

    static List<OpCase> bench() {
        return List.of();
    }
}
