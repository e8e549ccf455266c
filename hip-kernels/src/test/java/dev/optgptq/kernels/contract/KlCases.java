package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of NeuralOps.klDivergence and GradientOps.klGradient: vocabularies of any size, and models near and far. */
final class KlCases {

    private static final long[] SIZES = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 100, 257, 384};
    /** The promise of every twin: a share of the divergence itself, however small that is. */
    private static final Tolerance SHARE = new Tolerance(1e-5);

    private KlCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (long vocabulary : SIZES) {
            cases.add(divergence("", 6, vocabulary, normal(4), normal(4)));
        }
        cases.add(divergence("long rows ", 3, 40_000, normal(2), normal(2)));
        for (double apart : new double[] {1e-1, 1e-2, 1e-3, 1e-4}) {
            cases.add(near(apart, 300));
        }
        cases.add(near(0, 300));
        cases.add(divergence("ties ", 5, 60, Values.integers(0, 2), Values.integers(0, 2)));
        cases.add(divergence("large offsets ", 4, 50, Values.byIndex((row, column) -> 1e8 + 8 * (column % 7)),
                Values.byIndex((row, column) -> -1e8 + 8 * ((column + row) % 5))));
        cases.add(divergence("extremes ", 4, 50, Values.byIndex((row, column) -> column == row ? 3e38 : -3e38),
                Values.byIndex((row, column) -> column == 2 ? 1e30 : -column)));
        cases.add(divergence("all but one without probability ", 2, 40,
                Values.byIndex((row, column) -> column == 17 ? 0 : -1000), normal(3)));
        cases.add(divergence("NaN ", 4, 50, Values.byIndex((row, column) -> row == 1 && column == 33
                ? Double.NaN
                : column), Values.byIndex((row, column) -> row == 2 && column == 49 ? Double.NaN : column)));
        cases.add(divergence("", 0, 4, normal(1), normal(1)));
        gradients().forEach(gradient -> cases.add(gradient.backward()));
        cases.add(gradient("long rows ", 3, 40_000, normal(2), normal(2)).backward());
        cases.add(gradient("extremes ", 4, 50, Values.byIndex((row, column) -> column == row ? 3e38 : -3e38),
                Values.byIndex((row, column) -> column == 2 ? 1e30 : -column)).backward());
        return cases;
    }

    /** Those that finite differences check. */
    static List<GradientCase> gradients() {
        List<GradientCase> cases = new ArrayList<>();
        for (long vocabulary : SIZES) {
            cases.add(gradient("", 6, vocabulary, normal(2), normal(2)));
        }
        cases.add(gradient("equal rows ", 4, 33, Values.constant(1), Values.constant(2)));
        cases.add(gradient("", 0, 4, normal(1), normal(1)));
        return cases;
    }

    /** wiki-llama-14m's vocabulary and one of today's models. */
    static List<OpCase> bench() {
        return List.of(divergence("", 4096, 4096, normal(4), normal(4)).bytes(4096 * 4096 * 8.0),
                divergence("", 64, 150_000, normal(4), normal(4)).bytes(64 * 150_000 * 8.0),
                gradient("", 2048, 4096, normal(4), normal(4)).backward().bytes(2048 * 4096 * 12.0));
    }

    private static String shape(long rows, long columns) {
        return "[" + rows + ", " + columns + "]";
    }

    private static OpCase divergence(String note, long n, long vocabulary, Values teacher, Values student) {
        return op("klDivergence", note + shape(n, vocabulary)).input("teacher", DType.F32, n, vocabulary, teacher)
                .input("student", DType.F32, n, vocabulary, student).output("kl", DType.F64, 1, n, SHARE)
                .output("agrees", DType.I32, 1, n, Tolerance.EXACT).call((device, at) -> device.neural()
                        .klDivergence(at.get("teacher"), at.get("student"), at.get("kl"), at.get("agrees")));
    }

    /** The student's logits are the teacher's and a little more: what 4 bits do to a model, down to nothing at all. */
    private static OpCase near(double apart, long vocabulary) {
        long n = 5;
        return op("klDivergence", "apart by " + apart + " " + shape(n, vocabulary))
                .input("teacher", DType.F32, n, vocabulary, normal(3))
                .inPlace("student", DType.F32, n, vocabulary, normal(apart), Tolerance.EXACT)
                .output("kl", DType.F64, 1, n, SHARE).output("agrees", DType.I32, 1, n, Tolerance.EXACT)
                .call((device, at) -> {
                    device.neural().add(at.get("student"), at.get("teacher"));
                    device.neural().klDivergence(at.get("teacher"), at.get("student"), at.get("kl"),
                            at.get("agrees"));
                });
    }

    private static GradientCase gradient(String note, long n, long vocabulary, Values teacher, Values student) {
        OpCase backward = op("klGradient", note + shape(n, vocabulary))
                .input("teacher", DType.F32, n, vocabulary, teacher)
                .inPlace("student", DType.F32, n, vocabulary, student, Tolerance.roundings(8).ofTerms(1))
                .input("weights", DType.F32, 1, n, Values.byIndex((row, r) -> r % 3 == 2 ? 0 : 1 + r))
                .call((device, at) -> device.gradient().klGradient(at.get("teacher"), at.get("student"),
                        at.get("weights")));
        return new GradientCase(backward, (device, arena, at) -> {
            Tensor kl = arena.vector(DType.F64, n);
            device.neural().klDivergence(at.get("teacher"), at.get("student"), kl, arena.vector(DType.I32, n));
            return kl;
        }, "weights", Map.of("student", "student"));
    }
}
