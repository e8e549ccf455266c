package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import java.util.ArrayList;
import java.util.List;

/** The cases of Float64Ops: around the tiles of 64, and systems of one block, of several, and with squares of 512. */
final class Float64Cases {

    private Float64Cases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (long n : new long[] {1, 17, 64, 129}) {
            cases.add(multiply(n, 19, 34, false, false, 0));
            cases.add(multiply(7, n, 40, true, false, 1));
            cases.add(multiply(65, 3, n, false, true, -0.5));
            cases.add(combine(DType.F32, n, 0));
            cases.add(combine(DType.F64, n, -0.75));
            cases.add(innerProduct(n));
            cases.add(solve(n, 3));
        }
        cases.add(multiply(33, 70, 16, true, true, 2));
        cases.add(multiply(3, 4, 0, false, false, 0.5));
        cases.add(solve(65, 70));
        cases.add(solve(200, 1));
        cases.add(solve(3, 0));
        cases.add(solve(0, 2));
        return cases;
    }

    /** Llama-2-7B's down projection has a system of 11,008, its output projection one of 4,096. */
    static List<OpCase> bench() {
        long n = 4096;
        return List.of(multiply(n, n, n, false, false, 0).flops(2.0 * n * n * n),
                solve(n, n).flops((1.0 / 3 + 2) * n * n * n), combine(DType.F32, n, 1).bytes(20.0 * 1030 * n),
                innerProduct(n).bytes(16.0 * 1100 * n));
    }

    private static OpCase multiply(long m, long n, long k, boolean transposeA, boolean transposeB, double beta) {
        return op("multiply", (transposeA ? "a^T" : "a") + "[" + m + ", " + k + "] " + (transposeB ? "b^T" : "b") + "["
                + k + ", " + n + "] beta " + beta)
                .input("a", DType.F64, transposeA ? k : m, transposeA ? m : k, normal(1))
                .input("b", DType.F64, transposeB ? n : k, transposeB ? k : n, normal(1))
                .inPlace("c", DType.F64, m, n, beta == 0 ? Values.garbage() : normal(1), Tolerance.float64Sum(k))
                .call((device, at) -> device.float64().multiply(-0.75, at.get("a"), transposeA, at.get("b"), transposeB,
                        beta, at.get("c")));
    }

    private static OpCase combine(DType dtype, long n, double beta) {
        return op("combine", dtype + "[" + n + ", 1030] beta " + beta).input("x", dtype, n, 1030, normal(1))
                .inPlace("y", DType.F64, n, 1030, beta == 0 ? Values.garbage() : normal(1), Tolerance.float64Sum(2))
                .call((device, at) -> device.float64().combine(0.3, at.get("x"), beta, at.get("y")));
    }

    private static OpCase innerProduct(long n) {
        return op("innerProduct", "[" + n + ", 1100]").input("a", DType.F64, n, 1100, normal(1))
                .input("b", DType.F64, n, 1100, normal(1))
                .output("result", DType.F64, 1, 1, Tolerance.float64Sum(n * 1100).ofTerms(Math.sqrt((double) n * 1100)))
                .call((device, at) -> device.float64().innerProduct(at.get("a"), at.get("b"), at.get("result")));
    }

    /** What stands above the diagonal is not read: it is NaN. The condition number of what stands below is under 400. */
    private static OpCase solve(long n, long columns) {
        return op("solve", "a[" + n + ", " + n + "] b[" + n + ", " + columns + "]")
                .inPlace("a", DType.F64, n, n,
                        Values.byIndex((i, j) -> j > i ? Double.NaN : Math.pow(0.9, (double) (i - j))),
                        Tolerance.ANYTHING)
                .inPlace("b", DType.F64, n, columns, normal(1), Tolerance.float64Sum(160_000))
                .call((device, at) -> {
                    if (!device.float64().solve(at.get("a"), at.get("b"))) {
                        throw new AssertionError("said to be not positive definite");
                    }
                });
    }
}
