package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.List;

/** The cases of NeuralOps. */
final class NeuralCases {

    /** Sizes around vectors of 4, 8, 16 and 32 lanes, and rows long enough to be handed out one by one. */
    private static final long[] SIZES = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 100, 384};
    private static final List<DType> FLOATS = List.of(DType.F16, DType.BF16, DType.F32, DType.F64);

    private NeuralCases() {}

    /** A float32 that differs in its last bits may be rounded to the neighbour of a bfloat16. */
    private static final Tolerance HALF = new Tolerance(0x1.1p-8);

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (long n : SIZES) {
            cases.addAll(norms(5, n));
            cases.addAll(activations(3, n));
            cases.addAll(sums(4, n));
            cases.add(crossEntropy(6, n, normal(4)));
            for (DType dtype : FLOATS) {
                cases.add(embed(5, 11, n, dtype));
                cases.add(countNonFinite(3, n, dtype));
            }
            for (RotaryLayout layout : RotaryLayout.values()) {
                cases.add(rotary(6, 3, 2, (int) (2 * n), n, layout));
                cases.add(rotary(4, 4, 3, (int) (2 * n + 5), n, layout));
                cases.add(rotaryTo(6, 3, 2, (int) (2 * n), n, layout, DType.F32));
                cases.add(rotaryTo(4, 2, 3, (int) (2 * n + 5), n, layout, DType.BF16));
            }
        }
        cases.addAll(norms(700, 129));
        cases.addAll(activations(700, 129));
        cases.addAll(sums(700, 129));
        cases.add(crossEntropy(3, 40_000, normal(2)));
        cases.add(crossEntropy(2, 300, Values.constant(-1e30)));
        cases.add(crossEntropy(4, 50, Values.byIndex((row, column) -> row == 1 && column == 33 ? Double.NaN : column)));
        for (DType source : FLOATS) {
            for (DType target : FLOATS) {
                cases.add(convert(3, 37, source, target));
            }
            cases.add(embed(300, 7, 129, source));
        }
        cases.addAll(AttentionCases.cases());
        cases.addAll(emptyOnes());
        return cases;
    }

    /** wiki-llama-14m: hidden 384, intermediate 1024, vocabulary 4096, windows of 1024 tokens. */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>();
        long n = 4096;
        norms(n, 384).forEach(norm -> cases.add(norm.bytes(n * 384 * 8.0)));
        activations(n, 1024).forEach(activation -> cases.add(activation.bytes(n * 1024 * 8.0)));
        sums(n, 384).forEach(sum -> cases.add(sum.bytes(n * 384 * 8.0)));
        for (RotaryLayout layout : RotaryLayout.values()) {
            cases.add(rotary(n, 1024, 6, 64, 32, layout).bytes(n * 384 * 8.0));
            cases.add(rotaryTo(n, 1024, 6, 64, 32, layout, DType.BF16).bytes(n * 384 * 6.0));
        }
        cases.add(crossEntropy(n, 4096, normal(4)).bytes(n * 4096 * 4.0));
        cases.add(crossEntropy(64, 150_000, normal(4)).bytes(64 * 150_000 * 4.0));
        cases.add(embed(n, 4096, 384, DType.BF16).bytes(n * 384 * 6.0));
        cases.add(convert(1024, 1024, DType.BF16, DType.F32).bytes(0x1p20 * 6));
        cases.add(convert(1024, 1024, DType.F16, DType.F32).bytes(0x1p20 * 6));
        cases.add(convert(1024, 1024, DType.F32, DType.BF16).bytes(0x1p20 * 6));
        cases.add(countNonFinite(1024, 1024, DType.BF16).bytes(0x1p20 * 2));
        cases.addAll(AttentionCases.bench());
        return cases;
    }

    private static String shape(long rows, long columns) {
        return "[" + rows + ", " + columns + "]";
    }

    private static List<OpCase> norms(long n, long d) {
        Tolerance tolerance = Tolerance.sum(d);
        return List.of(op("rmsNorm", shape(n, d)).input("x", DType.F32, n, d, normal(3))
                .input("weight", DType.F32, 1, d, normal(1)).output("out", DType.F32, n, d, tolerance)
                .call((device, at) -> device.neural().rmsNorm(at.get("x"), at.get("weight"), 1e-5f, at.get("out"))),
                op("rmsNorm", "BF16 " + shape(n, d)).input("x", DType.F32, n, d, normal(3))
                        .input("weight", DType.F32, 1, d, normal(1)).output("out", DType.BF16, n, d, HALF)
                        .call((device, at) -> device.neural().rmsNorm(at.get("x"), at.get("weight"), 1e-5f,
                                at.get("out"))),
                layerNorm(n, d, true, DType.F32), layerNorm(n, d, false, DType.F32), layerNorm(n, d, true, DType.F16));
    }

    /** eps 0.1 keeps a row of one element, whose variance is 0, away from 0 / 0. */
    private static OpCase layerNorm(long n, long d, boolean withBias, DType type) {
        return op("layerNorm", (type == DType.F32 ? "" : type + " ") + shape(n, d) + (withBias ? " bias" : ""))
                .input("x", DType.F32, n, d, normal(3))
                .input("weight", DType.F32, 1, d, normal(1)).input("bias", DType.F32, 1, d, normal(1))
                .output("out", type, n, d, type == DType.F32 ? Tolerance.sum(d) : HALF)
                .call((device, at) -> device.neural().layerNorm(at.get("x"), at.get("weight"),
                        withBias ? at.get("bias") : null, 0.1f, at.get("out")));
    }

    private static List<OpCase> activations(long n, long d) {
        List<OpCase> cases = new ArrayList<>();
        for (Activation activation : Activation.values()) {
            cases.add(op("activate", activation + shape(n, d))
                    .inPlace("x", DType.F32, n, d, normal(4), Tolerance.roundings(4))
                    .call((device, at) -> device.neural().activate(activation, at.get("x"))));
            cases.add(op("activateGated", activation + shape(n, d))
                    .inPlace("gate", DType.F32, n, d, normal(4), Tolerance.roundings(4))
                    .input("up", DType.F32, n, d, normal(1))
                    .call((device, at) -> device.neural().activateGated(activation, at.get("gate"), at.get("up"))));
            DType half = activation == Activation.SILU ? DType.BF16 : DType.F16;
            cases.add(op("activateGated", activation + " " + half + shape(n, d))
                    .input("gate", DType.F32, n, d, normal(4)).input("up", DType.F32, n, d, normal(1))
                    .output("out", half, n, d, HALF).call((device, at) -> device.neural()
                            .activateGated(activation, at.get("gate"), at.get("up"), at.get("out"))));
        }
        return cases;
    }

    private static List<OpCase> sums(long n, long d) {
        return List.of(op("add", shape(n, d)).inPlace("x", DType.F32, n, d, normal(1), Tolerance.EXACT)
                .input("y", DType.F32, n, d, normal(1))
                .call((device, at) -> device.neural().add(at.get("x"), at.get("y"))),
                op("addRow", shape(n, d)).inPlace("x", DType.F32, n, d, normal(1), Tolerance.EXACT)
                        .input("row", DType.F32, 1, d, normal(1))
                        .call((device, at) -> device.neural().addRow(at.get("x"), at.get("row"))));
    }

    private static OpCase rotaryTo(long n, long positions, long heads, int headDim, long pairs, RotaryLayout layout,
            DType type) {
        return op("rotaryTo", layout + " " + type + " " + shape(n, heads * headDim) + " positions " + positions
                + " headDim " + headDim + " pairs " + pairs)
                .input("x", DType.F32, n, heads * headDim, normal(1))
                .input("cos", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .input("sin", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .output("out", type, n, heads * headDim, type == DType.F32 ? Tolerance.roundings(2) : HALF)
                .call((device, at) -> device.neural().rotaryTo(at.get("x"), headDim, at.get("cos"), at.get("sin"),
                        layout, at.get("out")));
    }

    private static OpCase rotary(long n, long positions, long heads, int headDim, long pairs, RotaryLayout layout) {
        return op("rotary", layout + " " + shape(n, heads * headDim) + " positions " + positions + " headDim "
                + headDim + " pairs " + pairs)
                .inPlace("x", DType.F32, n, heads * headDim, normal(1), Tolerance.roundings(2))
                .input("cos", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .input("sin", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .call((device, at) -> device.neural().rotary(at.get("x"), headDim, at.get("cos"), at.get("sin"),
                        layout));
    }

    /** The promise is an error below 1e-6; the tolerance is a share of the largest loss, which is below 10 or huge. */
    private static OpCase crossEntropy(long n, long vocabulary, Values logits) {
        return op("crossEntropy", shape(n, vocabulary)).input("logits", DType.F32, n, vocabulary, logits)
                .input("targets", DType.I32, 1, n, Values.integers(0, (int) vocabulary - 1))
                .output("nll", DType.F64, 1, n, new Tolerance(1e-7)).call((device, at) -> device.neural()
                        .crossEntropy(at.get("logits"), at.get("targets"), at.get("nll")));
    }

    private static OpCase embed(long n, long vocabulary, long d, DType dtype) {
        return op("embed", dtype + " " + shape(n, d) + " of " + vocabulary)
                .input("ids", DType.I32, 1, n, Values.integers(0, (int) vocabulary - 1))
                .input("table", dtype, vocabulary, d, normal(1)).output("out", DType.F32, n, d, Tolerance.EXACT)
                .call((device, at) -> device.neural().embed(at.get("ids"), at.get("table"), at.get("out")));
    }

    /** Magnitudes from 2^-30 to 2^20 reach the subnormals and the overflow of F16. */
    private static OpCase convert(long n, long d, DType source, DType target) {
        Values wide = (random, rows, columns) -> () -> random.nextGaussian() * Math.pow(2, random.nextInt(-30, 20));
        return op("convert", source + " to " + target + " " + shape(n, d)).input("source", source, n, d, wide)
                .output("target", target, n, d, Tolerance.EXACT)
                .call((device, at) -> device.neural().convert(at.get("source"), at.get("target")));
    }

    private static OpCase countNonFinite(long n, long d, DType dtype) {
        Values values = Values.byIndex((row, column) -> (row + column) % 5 == 3
                ? Double.NaN
                : (row + column) % 7 == 2 ? Double.NEGATIVE_INFINITY : row - column);
        return op("countNonFinite", dtype + shape(n, d)).input("x", dtype, n, d, values)
                .output("count", DType.I64, 1, 1, Tolerance.EXACT)
                .call((device, at) -> device.neural().countNonFinite(at.get("x"), at.get("count")));
    }

    private static List<OpCase> emptyOnes() {
        List<OpCase> cases = new ArrayList<>();
        for (long[] size : new long[][] {{0, 4}, {3, 0}}) {
            cases.addAll(norms(size[0], size[1]));
            cases.addAll(activations(size[0], size[1]));
            cases.addAll(sums(size[0], size[1]));
            cases.add(convert(size[0], size[1], DType.BF16, DType.BF16));
            cases.add(embed(size[0], 5, size[1], DType.F16));
            cases.add(countNonFinite(size[0], size[1], DType.F32));
        }
        cases.add(crossEntropy(0, 4, normal(1)));
        return cases;
    }
}
