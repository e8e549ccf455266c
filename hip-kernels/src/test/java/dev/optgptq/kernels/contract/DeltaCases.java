package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.DeltaOps.DeltaGradients;
import dev.optgptq.kernels.ops.DeltaOps.DeltaInputs;
import dev.optgptq.kernels.ops.DeltaOps.DeltaShape;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of DeltaOps: around the vectors of the CPU, the 32 columns of a block and the chunks of the gradient. */
final class DeltaCases {

    private DeltaCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (int[] size : convolutions()) {
            cases.add(convolution(size[0], size[1], size[2], size[3], true));
            cases.add(convolution(size[0], size[1], size[2], size[3], false));
        }
        for (long heads : new long[] {1, 3, 8, 33}) {
            cases.add(decay(5, heads, normal(3)));
        }
        cases.add(decay(2, 40, Values.byIndex((row, column) -> (column - 20) * 10)));
        cases.add(decay(0, 4, normal(1)));
        for (DeltaShape shape : shapes()) {
            cases.add(rule(2, shape));
        }
        cases.add(rule(0, new DeltaShape(3, 1, 1, 4, 4, 1)));
        gradients().forEach(gradient -> cases.add(gradient.backward()));
        return cases;
    }

    static List<GradientCase> gradients() {
        List<GradientCase> cases = new ArrayList<>();
        for (int[] size : convolutions()) {
            cases.add(convolutionGradient(size[0], size[1], size[2], size[3]));
        }
        for (long heads : new long[] {1, 3, 8, 33}) {
            cases.add(decayGradient(5, heads));
        }
        cases.add(decayGradient(300, 4));
        for (DeltaShape shape : shapes()) {
            cases.add(ruleGradient(2, shape));
        }
        cases.add(ruleGradient(0, new DeltaShape(3, 1, 1, 4, 4, 1)));
        return cases;
    }

    /** A layer of Qwen3-Next, one sequence of 512 tokens. */
    static List<OpCase> bench() {
        DeltaShape shape = new DeltaShape(512, 16, 32, 128, 128, 0.088f);
        double flops = 8.0 * 512 * 32 * 128 * 128;
        double bytes = 512 * 8192 * 8.0;
        return List.of(convolution(512, 1, 8192, 4, false).bytes(bytes),
                convolutionGradient(512, 1, 8192, 4).backward().bytes(2 * bytes),
                decay(512, 32, normal(1)).bytes(512 * 32 * 8.0),
                decayGradient(512, 32).backward().bytes(512 * 32 * 12.0), rule(1, shape).flops(flops),
                ruleGradient(1, shape).backward().flops(4 * flops));
    }

    /** Length, sequences, columns, taps. */
    private static List<int[]> convolutions() {
        return List.of(new int[] {1, 1, 1, 1}, new int[] {1, 2, 3, 4}, new int[] {3, 2, 8, 4},
                new int[] {9, 3, 17, 4}, new int[] {5, 1, 33, 7}, new int[] {300, 1, 5, 4}, new int[] {4, 2, 1030, 4},
                new int[] {4, 0, 6, 4});
    }

    private static List<DeltaShape> shapes() {
        return List.of(new DeltaShape(1, 1, 1, 1, 1, 1), new DeltaShape(2, 1, 1, 4, 4, 0.5f),
                new DeltaShape(7, 2, 4, 8, 6, 0.35f), new DeltaShape(33, 1, 2, 6, 33, 1),
                new DeltaShape(65, 1, 1, 16, 32, 0.25f), new DeltaShape(5, 1, 1, 64, 65, 0.125f),
                new DeltaShape(9, 1, 2, 65, 31, 0.125f), new DeltaShape(6, 1, 1, 128, 100, 0.1f),
                new DeltaShape(4, 1, 1, 200, 40, 0.1f));
    }

    private static String convolutionName(int length, int sequences, long columns, long taps) {
        return sequences + " x " + length + ", " + columns + " columns, " + taps + " taps";
    }

    private static OpCase convolution(int length, int sequences, long columns, long taps, boolean biased) {
        long rows = (long) length * sequences;
        return op("causalConvolution", convolutionName(length, sequences, columns, taps) + (biased ? ", bias" : ""))
                .input("x", DType.F32, rows, columns, normal(1)).input("weight", DType.F32, columns, taps, normal(1))
                .input("bias", DType.F32, 1, columns, normal(1))
                .output("out", DType.F32, rows, columns, Tolerance.sum(taps))
                .call((device, at) -> device.delta().causalConvolution(at.get("x"), at.get("weight"),
                        biased ? at.get("bias") : null, length, at.get("out")));
    }

    private static GradientCase convolutionGradient(int length, int sequences, long columns, long taps) {
        long rows = (long) length * sequences;
        OpCase backward = op("causalConvolutionGradient", convolutionName(length, sequences, columns, taps))
                .input("x", DType.F32, rows, columns, Values.grid(1))
                .input("weight", DType.F32, columns, taps, Values.grid(1))
                .input("bias", DType.F32, 1, columns, Values.grid(1))
                .input("dOut", DType.F32, rows, columns, normal(1))
                .output("dx", DType.F32, rows, columns, Tolerance.sum(taps))
                .inPlace("dWeight", DType.F32, columns, taps, normal(1), Tolerance.sum(rows))
                .inPlace("dBias", DType.F32, 1, columns, normal(1), Tolerance.sum(rows))
                .call((device, at) -> device.delta().causalConvolutionGradient(at.get("x"), at.get("weight"), length,
                        at.get("dOut"), at.get("dx"), at.get("dWeight"), at.get("dBias")));
        return new GradientCase(backward, (device, arena, at) -> {
            Tensor out = arena.matrix(DType.F32, rows, columns);
            device.delta().causalConvolution(at.get("x"), at.get("weight"), at.get("bias"), length, out);
            return out;
        }, "dOut", Map.of("x", "dx", "weight", "dWeight", "bias", "dBias"));
    }

    private static OpCase decay(long n, long heads, Values values) {
        return op("deltaDecay", "[" + n + ", " + heads + "]").input("a", DType.F32, n, heads, values)
                .input("aLog", DType.F32, 1, heads, normal(1)).input("dtBias", DType.F32, 1, heads, normal(1))
                .output("out", DType.F32, n, heads, Tolerance.roundings(8)).call((device, at) -> device.delta()
                        .deltaDecay(at.get("a"), at.get("aLog"), at.get("dtBias"), at.get("out")));
    }

    private static GradientCase decayGradient(long n, long heads) {
        OpCase backward = op("deltaDecayGradient", "[" + n + ", " + heads + "]")
                .input("a", DType.F32, n, heads, Values.grid(2)).input("aLog", DType.F32, 1, heads, Values.grid(0.5))
                .input("dtBias", DType.F32, 1, heads, Values.grid(1)).input("dOut", DType.F32, n, heads, normal(1))
                .output("da", DType.F32, n, heads, Tolerance.roundings(8))
                .inPlace("dALog", DType.F32, 1, heads, normal(1), Tolerance.sum(n + 16))
                .inPlace("dDtBias", DType.F32, 1, heads, normal(1), Tolerance.sum(n + 16))
                .call((device, at) -> device.delta().deltaDecayGradient(at.get("a"), at.get("aLog"),
                        at.get("dtBias"), at.get("dOut"), at.get("da"), at.get("dALog"), at.get("dDtBias")));
        return new GradientCase(backward, (device, arena, at) -> {
            Tensor out = arena.matrix(DType.F32, n, heads);
            device.delta().deltaDecay(at.get("a"), at.get("aLog"), at.get("dtBias"), out);
            return out;
        }, "dOut", Map.of("a", "da", "aLog", "dALog", "dtBias", "dDtBias"));
    }

    private static OpCase.Builder inputs(String op, int sequences, DeltaShape shape) {
        long rows = (long) sequences * shape.sequenceLength();
        long keys = (long) shape.keyHeads() * shape.keyDim();
        return op(op, sequences + " x " + shape.sequenceLength() + ", heads " + shape.keyHeads() + "/"
                + shape.valueHeads() + ", keys of " + shape.keyDim() + ", values of " + shape.valueDim())
                .input("q", DType.F32, rows, keys, Values.grid(1))
                .input("k", DType.F32, rows, keys, unit(shape.keyDim()))
                .input("v", DType.F32, rows, (long) shape.valueHeads() * shape.valueDim(), Values.grid(1))
                .input("decay", DType.F32, rows, shape.valueHeads(),
                        (random, r, c) -> () -> -random.nextInt(1, 256) / 256.0)
                .input("beta", DType.F32, rows, shape.valueHeads(),
                        (random, r, c) -> () -> random.nextInt(32, 224) / 256.0);
    }

    /** Keys of a length near 1, as the model's norm makes them: longer ones would make states grow without bound. */
    private static Values unit(int keyDim) {
        double size = Math.max(1, Math.round(256 / Math.sqrt(keyDim)));
        return (random, rows,
                columns) -> () -> (random.nextBoolean() ? 1 : -1) * random.nextInt(1, (int) size + 1) / 256.0;
    }

    private static DeltaInputs at(OpCase.Operands at, DeltaShape shape) {
        return new DeltaInputs(at.get("q"), at.get("k"), at.get("v"), at.get("decay"), at.get("beta"), shape);
    }

    private static OpCase rule(int sequences, DeltaShape shape) {
        return inputs("gatedDeltaRule", sequences, shape)
                .output("out", DType.F32, (long) sequences * shape.sequenceLength(),
                        (long) shape.valueHeads() * shape.valueDim(), tolerance(shape))
                .call((device, at) -> device.delta().gatedDeltaRule(at(at, shape), at.get("out")));
    }

    private static Tolerance tolerance(DeltaShape shape) {
        return Tolerance.sum(shape.sequenceLength() + shape.keyDim() + 16L).ofTerms(1);
    }

    private static GradientCase ruleGradient(int sequences, DeltaShape shape) {
        long rows = (long) sequences * shape.sequenceLength();
        long keys = (long) shape.keyHeads() * shape.keyDim();
        long values = (long) shape.valueHeads() * shape.valueDim();
        Tolerance tolerance = tolerance(shape);
        OpCase backward = inputs("gatedDeltaRuleGradient", sequences, shape)
                .input("dOut", DType.F32, rows, values, normal(1)).output("dq", DType.F32, rows, keys, tolerance)
                .output("dk", DType.F32, rows, keys, tolerance).output("dv", DType.F32, rows, values, tolerance)
                .output("dDecay", DType.F32, rows, shape.valueHeads(), tolerance)
                .output("dBeta", DType.F32, rows, shape.valueHeads(), tolerance)
                .call((device, at) -> device.delta().gatedDeltaRuleGradient(at(at, shape), at.get("dOut"),
                        new DeltaGradients(at.get("dq"), at.get("dk"), at.get("dv"), at.get("dDecay"),
                                at.get("dBeta"))));
        return new GradientCase(backward, (device, arena, at) -> {
            Tensor out = arena.matrix(DType.F32, rows, values);
            device.delta().gatedDeltaRule(at(at, shape), out);
            return out;
        }, "dOut", Map.of("q", "dq", "k", "dk", "v", "dv", "decay", "dDecay", "beta", "dBeta"));
    }
}
