package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.GradientOps.CurvatureWeights;
import java.util.ArrayList;
import java.util.List;

/** The cases of NeuralOps.causalSoftmax and GradientOps.attentionCurvature. */
final class AttentionMatrixCases {

    private AttentionMatrixCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (long length : new long[] {1, 7, 33, 64, 129}) {
            cases.add(softmax(2, length, true, 0));
            cases.add(curvature(2, length, 0));
        }
        cases.add(softmax(3, 35, false, 9));
        cases.add(curvature(3, 35, 9));
        cases.add(softmax(1, 300, false, 0));
        cases.add(curvature(1, 300, 270));
        cases.add(softmax(0, 5, true, 0));
        cases.add(curvature(0, 5, 0));
        return cases;
    }

    static List<OpCase> bench() {
        return List.of(softmax(4, 1024, true, 0).bytes(8.0 * 4 * 1024 * 1024),
                curvature(4, 1024, 0).bytes(16.0 * 4 * 1024 * 1024));
    }

    private static OpCase softmax(long matrices, long length, boolean alibi, int window) {
        return op("causalSoftmax", matrices + " x " + length + " alibi " + alibi + " window " + window)
                .inPlace("scores", DType.F32, matrices * length, length, normal(2), Tolerance.roundings(24))
                .input("slopes", DType.F32, 1, matrices, Values.uniform(0.01, 0.5))
                .call((device, at) -> device.neural().causalSoftmax(at.get("scores"), 0.7f,
                        alibi ? at.get("slopes") : null, window));
    }

    private static OpCase curvature(long matrices, long length, int window) {
        return op("attentionCurvature", matrices + " x " + length + " window " + window)
                .input("first", DType.F32, matrices * length, length, Values.uniform(0, 2.0 / length))
                .input("second", DType.F32, matrices * length, length, Values.uniform(0, 2.0 / length))
                .inPlace("errors", DType.F32, matrices * length, length, normal(1),
                        Tolerance.sum(length).ofTerms(1.0 / length))
                .call((device, at) -> device.gradient().attentionCurvature(at.get("first"), at.get("second"),
                        new CurvatureWeights(0.5f, 0.3f, 0.2f), window, at.get("errors")));
    }
}
