package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.MatrixOps.Product;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** The cases of MatrixOps. */
final class MatrixCases {

    /** Sizes around the vector width and the tiles of 64, 128 and 256. */
    private static final long[] SIZES = {1, 2, 15, 17, 63, 64, 65, 129, 257};

    private MatrixCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (long n : SIZES) {
            cases.add(linear(n, 33, 17, true, 0));
            cases.add(linear(3, n, 65, false, 1));
            cases.add(linear(66, 5, n, true, 0.5f));
            cases.add(linear(n, 35, 17, true, 0, DType.BF16));
            cases.add(linear(66, n, 19, false, 1, DType.F16));
            cases.add(linear(5, 18, n, true, 0.5f, DType.BF16));
            cases.add(gemm(n, 19, 34, false, false, 0));
            cases.add(gemm(7, n, 40, true, false, 1));
            cases.add(gemm(65, 3, n, false, true, -0.5f));
            cases.add(gemm(n, n, 9, true, true, 2));
            cases.add(gemm(n, 17, 33, false, false, 0, DType.BF16));
            cases.add(gemm(18, n, 35, true, false, 1, DType.F16));
            cases.add(accumulateGram(n, 47, DType.F32));
            cases.add(accumulateGram(21, n, DType.F32));
            cases.add(accumulateGram(n, 19, DType.F16));
            cases.add(accumulateGram(9, n, DType.BF16));
            cases.add(inverseFactor(n));
            cases.addAll(moves(n));
        }
        for (DType weight : new DType[] {DType.F16, DType.BF16}) {
            cases.add(linear(17, 65, 33, true, 0.5f, DType.F32, weight));
            cases.add(linear(66, 130, 5, false, 0, DType.F32, weight));
            cases.add(linear(0, 4, 5, true, 0, DType.F32, weight));
            cases.add(linear(1, 1030, 70, true, 0, DType.F32, weight));
            cases.add(linear(3, 33, 6, false, 1, DType.F32, weight));
            cases.add(linear(8, 257, 131, true, 0.5f, DType.F32, weight));
        }
        for (DType half : new DType[] {DType.F16, DType.BF16}) {
            // Few rows have kernels of their own: around their number, beyond one tile of outputs, and with inputs in many runs.
            for (int rows : new int[] {1, 7, 8, 9}) {
                cases.add(linear(rows, 96, 70, true, 0.5f, half));
                cases.add(linears(half, rows, 160, 64, 5, 33));
            }
            cases.add(linear(2, 1120, 33, false, 1, half));
            cases.add(linears(half, 3, 70, 8, 9));
            cases.add(linears(half, 0, 64, 8, 9));
        }
        cases.add(linears(DType.F32, 3, 64, 8, 9, 4));
        cases.add(linear(300, 70, 300, true, 0));
        cases.addAll(halvesAcrossTiles());
        cases.add(gemm(290, 300, 31, false, false, 1));
        cases.add(accumulateGram(70, 600, DType.F32));
        cases.add(inverseFactor(300));
        cases.add(inverseFactor(530));
        cases.add(quadratic(33, 17));
        cases.add(quadratic(1040, 3));
        cases.addAll(emptyOnes());
        return cases;
    }

    /** Larger than a tile of any device, and than what is small enough for float64 on the CPU. */
    private static List<OpCase> halvesAcrossTiles() {
        List<OpCase> cases = new ArrayList<>();
        for (DType half : new DType[] {DType.BF16, DType.F16}) {
            cases.add(linear(300, 70, 300, true, 0, half));
            cases.add(linear(65, 257, 1100, false, 0.5f, half));
            cases.add(linear(520, 63, 131, true, 1, half));
            cases.add(linear(1, 700, 1030, false, 1, half));
            cases.add(linear(65, 1, 769, false, 0, half));
            cases.add(linear(700, 900, 1, true, 1, half));
            cases.add(accumulateGram(70, 600, half));
            cases.add(accumulateGram(257, 129, half));
        }
        return cases;
    }

    /** wiki-llama-14m (hidden 384, intermediate 1024) and TinyLlama (2048, 5632). */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>();
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            cases.add(gemm(2048, 2048, 2048, false, false, 0, dtype).flops(2.0 * 2048 * 2048 * 2048));
        }
        for (long[] shape : new long[][] {{4096, 384, 384}, {4096, 384, 1024}, {4096, 1024, 384}, {4096, 384, 4096},
                {512, 2048, 2048}, {1, 2048, 2048}}) {
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                cases.add(linear(shape[0], shape[1], shape[2], false, 0, dtype)
                        .flops(2.0 * shape[0] * shape[1] * shape[2]));
            }
        }
        // Llama-2-7B's down projection for a few tokens, and TinyLlama's queries, keys and values.
        for (int rows : new int[] {1, 8}) {
            cases.add(linear(rows, 11008, 4096, false, 0, DType.F16).bytes(11008 * 4096 * 2.0));
        }
        cases.add(linears(DType.F16, 1, 2048, 2048, 256, 256).bytes(2048 * 2560 * 2.0));
        for (long n : new long[] {384, 1024, 2048, 5632}) {
            long rows = n > 2048 ? 1024 : 4096;
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                cases.add(accumulateGram(rows, n, dtype).flops((double) rows * n * n));
            }
        }
        for (DType head : new DType[] {DType.F32, DType.F16, DType.BF16}) {
            cases.add(linear(1, 2048, 32000, false, 0, DType.F32, head).bytes(2048.0 * 32000 * head.bytes()));
            cases.add(linear(8, 2048, 32000, false, 0, DType.F32, head).bytes(2048.0 * 32000 * head.bytes()));
        }
        cases.add(quadratic(2200, 1100).flops(2200.0 * 2200 * 1100));
        for (long n : new long[] {384, 1024, 2048}) {
            cases.add(inverseFactor(n).flops(2.0 / 3 * n * n * n));
        }
        moves(2048).forEach(move -> cases.add(move.bytes(2048.0 * 2048 * 8)));
        return cases;
    }

    private static OpCase linear(long n, long in, long out, boolean withBias, float beta) {
        return linear(n, in, out, withBias, beta, DType.F32);
    }

    private static OpCase linear(long n, long in, long out, boolean withBias, float beta, DType dtype) {
        return linear(n, in, out, withBias, beta, dtype, dtype);
    }

    private static OpCase linear(long n, long in, long out, boolean withBias, float beta, DType dtype, DType weight) {
        return op("linear",
                dtype + " x[" + n + ", " + in + "] " + (weight == dtype ? "" : weight + " ") + "w[" + out + ", " + in
                        + "] bias " + withBias + " beta " + beta)
                .input("x", dtype, n, in, normal(1)).input("w", weight, out, in, normal(0.1))
                .input("bias", DType.F32, 1, out, normal(1))
                .inPlace("y", DType.F32, n, out, beta == 0 ? Values.garbage() : normal(1), Tolerance.sum(in))
                .call((device, at) -> device.matrix().linear(at.get("x"), at.get("w"),
                        withBias ? at.get("bias") : null, beta, at.get("y")));
    }

    /** Several linears of the same inputs; the second has no bias. */
    private static OpCase linears(DType dtype, long rows, long in, int... outputs) {
        OpCase.Builder builder = op("linears", dtype + " x[" + rows + ", " + in + "] to " + Arrays.toString(outputs))
                .input("x", dtype, rows, in, normal(1));
        for (int i = 0; i < outputs.length; i++) {
            builder.input("w" + i, dtype, outputs[i], in, normal(0.1))
                    .input("bias" + i, DType.F32, 1, outputs[i], normal(1))
                    .output("y" + i, DType.F32, rows, outputs[i], Tolerance.sum(in));
        }
        return builder.call((device, at) -> device.matrix().linears(IntStream.range(0, outputs.length)
                .mapToObj(i -> new Product(at.get("w" + i), i == 1 ? null : at.get("bias" + i), at.get("y" + i)))
                .toList(), at.get("x")));
    }

    private static OpCase gemm(long m, long n, long k, boolean transposeA, boolean transposeB, float beta) {
        return gemm(m, n, k, transposeA, transposeB, beta, DType.F32);
    }

    private static OpCase gemm(long m, long n, long k, boolean transposeA, boolean transposeB, float beta,
            DType dtype) {
        return op("gemm", dtype + " " + (transposeA ? "a^T" : "a") + "[" + m + ", " + k + "] "
                + (transposeB ? "b^T" : "b") + "[" + k + ", " + n + "] beta " + beta)
                .input("a", dtype, transposeA ? k : m, transposeA ? m : k, normal(1))
                .input("b", dtype, transposeB ? n : k, transposeB ? k : n, normal(1))
                .inPlace("c", DType.F32, m, n, beta == 0 ? Values.garbage() : normal(1), Tolerance.sum(k))
                .call((device, at) -> device.matrix().gemm(-0.75f, at.get("a"), transposeA, at.get("b"), transposeB,
                        beta, at.get("c")));
    }

    /** The strict lower triangle starts as NaN and must stay so. */
    private static OpCase accumulateGram(long rows, long n, DType dtype) {
        return op("accumulateGram", dtype + " x[" + rows + ", " + n + "]").input("x", dtype, rows, n, normal(1))
                .inPlace("h", DType.F32, n, n, Values.byIndex((i, j) -> i > j ? Double.NaN : i == j ? 3 : 0.5),
                        Tolerance.sum(rows))
                .call((device, at) -> device.matrix().accumulateGram(0.25f, at.get("x"), at.get("h")));
    }

    private static OpCase quadratic(long n, long m) {
        return op("quadratic", "h[" + n + ", " + n + "] d[" + n + ", " + m + "]")
                .input("h", DType.F32, n, n, Values.positiveDefinite()).input("d", DType.F32, n, m, normal(1))
                .inPlace("product", DType.F32, n, m, Values.garbage(), Tolerance.ANYTHING)
                .output("result", DType.F64, 1, 1, Tolerance.sum(n)).call((device, at) -> device.matrix()
                        .quadratic(at.get("h"), at.get("d"), at.get("product"), at.get("result")));
    }

    private static OpCase inverseFactor(long n) {
        return op("inverseFactor", "h[" + n + ", " + n + "]")
                .input("h", DType.F32, n, n, Values.positiveDefinite())
                // The condition number of 0.9^|i-j| is below 400, whatever n is.
                .output("u", DType.F32, n, n, Tolerance.roundings(400))
                .call((device, at) -> {
                    if (!device.matrix().inverseFactor(at.get("h"), at.get("u"))) {
                        throw new AssertionError("said to be not positive definite");
                    }
                });
    }

    private static List<OpCase> moves(long n) {
        String square = "[" + n + ", " + n + "]";
        long half = (n + 1) / 2;
        List<OpCase> cases = new ArrayList<>();
        cases.add(op("symmetrize", square).inPlace("h", DType.F32, n, n, normal(1), Tolerance.EXACT)
                .call((device, at) -> device.matrix().symmetrize(at.get("h"))));
        cases.add(op("diagonal", square).input("h", DType.F32, n, n, normal(1))
                .output("out", DType.F32, 1, n, Tolerance.EXACT)
                .call((device, at) -> device.matrix().diagonal(at.get("h"), at.get("out"))));
        cases.add(op("setDiagonal", square).input("values", DType.F32, 1, n, normal(1))
                .inPlace("h", DType.F32, n, n, normal(1), Tolerance.EXACT)
                .call((device, at) -> device.matrix().setDiagonal(at.get("h"), at.get("values"))));
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.U8}) {
            cases.add(op("transpose", dtype + "[" + n + ", " + half + "]")
                    .input("source", dtype, n, half, Values.integers(0, 100))
                    .output("target", dtype, half, n, Tolerance.EXACT)
                    .call((device, at) -> device.matrix().transpose(at.get("source"), at.get("target"))));
        }
        for (DType dtype : new DType[] {DType.F32, DType.F64, DType.U8}) {
            cases.add(op("gatherRows", dtype + square + " " + half + " rows")
                    .input("source", dtype, n, n, Values.integers(0, 100))
                    .input("order", DType.I32, 1, half, Values.permutation((int) n))
                    .output("target", dtype, half, n, Tolerance.EXACT).call((device, at) -> device.matrix()
                            .gatherRows(at.get("source"), at.get("order"), at.get("target"))));
        }
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F64, DType.U8}) {
            cases.add(op("gatherColumns", dtype + square + " " + half + " columns")
                    .input("source", dtype, n, n, Values.integers(0, 100))
                    .input("order", DType.I32, 1, half, Values.permutation((int) n))
                    .output("target", dtype, n, half, Tolerance.EXACT).call((device, at) -> device.matrix()
                            .gatherColumns(at.get("source"), at.get("order"), at.get("target"))));
        }
        cases.add(op("gatherColumns", square + " in runs of 4").input("source", DType.F32, n, n, normal(1))
                .input("order", DType.I32, 1, n / 4 * 4,
                        Values.byIndex((row, column) -> (n / 4 - 1 - column / 4) * 4 + column % 4))
                .output("target", DType.F32, n, n / 4 * 4, Tolerance.EXACT).call((device, at) -> device.matrix()
                        .gatherColumns(at.get("source"), at.get("order"), at.get("target"))));
        cases.add(op("gatherSymmetric", square).input("source", DType.F32, n, n, normal(1))
                .input("order", DType.I32, 1, n, Values.permutation((int) n))
                .output("target", DType.F32, n, n, Tolerance.EXACT).call((device, at) -> device.matrix()
                        .gatherSymmetric(at.get("source"), at.get("order"), at.get("target"))));
        cases.add(op("dot", square).input("a", DType.F32, n, n, normal(1))
                .input("b", DType.F32, n, n, Values.uniform(0, 1))
                .output("result", DType.F64, 1, 1, Tolerance.float64Sum(n * n * n * n))
                .call((device, at) -> device.matrix().dot(at.get("a"), at.get("b"), at.get("result"))));
        cases.add(op("dot", square + " with itself").input("a", DType.F32, n, n, normal(1))
                .output("result", DType.F64, 1, 1, Tolerance.float64Sum(n * n))
                .call((device, at) -> device.matrix().dot(at.get("a"), at.get("a"), at.get("result"))));
        for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16}) {
            cases.add(peak(dtype, square + " ordinary", n, normal(3)));
            cases.add(peak(dtype, square + " below what there is", n, normal(0.01)));
            cases.add(peak(dtype, square + " infinite", n, Values.of(3, Double.NEGATIVE_INFINITY, -7)));
            cases.add(
                    peak(dtype, square + " no numbers", n, Values.byIndex((i, j) -> i + j == n ? Double.NaN : i - j)));
        }
        cases.add(op("subtract", square).input("a", DType.F32, n, n, normal(1)).input("b", DType.F32, n, n, normal(1))
                .output("target", DType.F32, n, n, Tolerance.EXACT)
                .call((device, at) -> device.matrix().subtract(at.get("a"), at.get("b"), at.get("target"))));
        cases.add(op("subtract", square + " into b").input("a", DType.F32, n, n, normal(1))
                .inPlace("b", DType.F32, n, n, normal(1), Tolerance.EXACT)
                .call((device, at) -> device.matrix().subtract(at.get("a"), at.get("b"), at.get("b"))));
        for (DType dtype : new DType[] {DType.F32, DType.F64, DType.I32}) {
            cases.add(op("fill", dtype + square).output("target", dtype, n, n, Tolerance.EXACT)
                    .call((device, at) -> device.matrix().fill(at.get("target"), -3)));
        }
        for (DType dtype : new DType[] {DType.F32, DType.I64, DType.U8}) {
            cases.add(op("copy", dtype + square).input("source", dtype, n, n, Values.integers(0, 100))
                    .output("target", dtype, n, n, Tolerance.EXACT)
                    .call((device, at) -> device.matrix().copy(at.get("source"), at.get("target"))));
        }
        return cases;
    }

    private static OpCase peak(DType dtype, String label, long n, Values values) {
        return op("peak", dtype + label).input("x", dtype, n, n, values)
                .inPlace("peak", DType.F32, 1, 1, Values.constant(0.5), Tolerance.EXACT)
                .call((device, at) -> device.matrix().peak(at.get("x"), at.get("peak")));
    }

    /** Nothing to do, or a sum of no terms. */
    private static List<OpCase> emptyOnes() {
        return List.of(linear(0, 4, 3, true, 0), linear(4, 3, 0, true, 0), linear(4, 0, 3, true, 0.5f),
                linear(4, 0, 3, true, 0.5f, DType.F16),
                gemm(4, 3, 0, false, false, 0), gemm(4, 3, 0, false, false, 0.5f), gemm(0, 3, 2, true, false, 0),
                accumulateGram(0, 4, DType.F32), accumulateGram(0, 4, DType.BF16), inverseFactor(0));
    }
}
