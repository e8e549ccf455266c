package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of GradientOps. */
final class GradientCases {

    private static final long[] SIZES = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 384};
    /** Keeps a row of one element, whose variance is 0, away from 0 / 0, and curvature low enough for finite differences. */
    private static final float EPS = 0.1f;

    private GradientCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        withForward().forEach(gradient -> cases.add(gradient.backward()));
        for (long n : SIZES) {
            cases.addAll(rowOps(5, n));
        }
        cases.addAll(rowOps(700, 129));
        cases.addAll(rowOps(0, 4));
        cases.addAll(rowOps(3, 0));
        cases.add(crossEntropy(3, 40_000, normal(2)).backward());
        cases.add(crossEntropy(2, 300, Values.constant(-1e30)).backward());
        cases.add(saturated());
        return cases;
    }

    /** Those that finite differences check, where they are small. */
    static List<GradientCase> withForward() {
        List<GradientCase> cases = new ArrayList<>();
        for (long n : SIZES) {
            cases.addAll(norms(5, n));
            cases.addAll(activations(3, n));
            cases.add(embed(9, 4, n));
            cases.add(crossEntropy(6, n, normal(2)));
            for (RotaryLayout layout : RotaryLayout.values()) {
                cases.add(rotary(6, 3, 2, (int) (2 * n), n, layout));
                cases.add(rotary(4, 4, 3, (int) (2 * n + 5), n, layout));
            }
        }
        cases.add(linear(5, 7, 9));
        cases.addAll(norms(700, 129));
        cases.addAll(norms(0, 4));
        cases.addAll(norms(3, 0));
        cases.addAll(activations(700, 129));
        cases.addAll(activations(0, 4));
        cases.addAll(activations(3, 0));
        cases.add(embed(300, 7, 129));
        cases.add(embed(0, 7, 5));
        cases.add(crossEntropy(0, 4, normal(1)));
        cases.addAll(AttentionGradientCases.cases());
        cases.addAll(KlCases.gradients());
        return cases;
    }

    /** wiki-llama-14m: hidden 384, intermediate 1024, vocabulary 4096. */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>();
        long n = 2048;
        norms(n, 384).forEach(norm -> cases.add(norm.backward().bytes(n * 384 * 16.0)));
        activations(n, 1024).forEach(activation -> cases.add(activation.backward().bytes(n * 1024 * 16.0)));
        rowOps(n, 384).forEach(rowOp -> cases.add(rowOp.bytes(n * 384 * 4.0)));
        for (RotaryLayout layout : RotaryLayout.values()) {
            cases.add(rotary(n, 1024, 6, 64, 32, layout).backward().bytes(n * 384 * 8.0));
        }
        cases.add(embed(n, 4096, 384).backward().bytes(n * 384 * 12.0));
        cases.add(crossEntropy(n, 4096, normal(4)).backward().bytes(n * 4096 * 8.0));
        cases.addAll(AttentionGradientCases.bench());
        return cases;
    }

    private static String shape(long rows, long columns) {
        return "[" + rows + ", " + columns + "]";
    }

    private static Tensor like(TensorArena arena, Tensor x) {
        return arena.matrix(DType.F32, x.rows(), x.columns());
    }

    private static List<GradientCase> norms(long n, long d) {
        OpCase rms = op("rmsNormGradient", shape(n, d)).input("x", DType.F32, n, d, Values.grid(1))
                .input("weight", DType.F32, 1, d, Values.grid(1)).input("dOut", DType.F32, n, d, normal(1))
                .inPlace("dx", DType.F32, n, d, normal(1), Tolerance.sum(d))
                .inPlace("dWeight", DType.F32, 1, d, normal(1), Tolerance.sum(n + d))
                .call((device, at) -> device.gradient().rmsNormGradient(at.get("x"), at.get("weight"), EPS,
                        at.get("dOut"), at.get("dx"), at.get("dWeight")));
        OpCase withoutWeight = op("rmsNormGradient", shape(n, d) + " of x alone")
                .input("x", DType.F32, n, d, Values.grid(1)).input("weight", DType.F32, 1, d, Values.grid(1))
                .input("dOut", DType.F32, n, d, normal(1))
                .inPlace("dx", DType.F32, n, d, normal(1), Tolerance.sum(d))
                .call((device, at) -> device.gradient().rmsNormGradient(at.get("x"), at.get("weight"), EPS,
                        at.get("dOut"), at.get("dx"), null));
        GradientCase.Forward forward = (device, arena, at) -> {
            Tensor out = like(arena, at.get("x"));
            device.neural().rmsNorm(at.get("x"), at.get("weight"), EPS, out);
            return out;
        };
        return List.of(new GradientCase(rms, forward, "dOut", Map.of("x", "dx", "weight", "dWeight")),
                new GradientCase(withoutWeight, forward, "dOut", Map.of("x", "dx")), layerNorm(n, d));
    }

    private static GradientCase layerNorm(long n, long d) {
        OpCase layer = op("layerNormGradient", shape(n, d)).input("x", DType.F32, n, d, Values.grid(1))
                .input("weight", DType.F32, 1, d, Values.grid(1)).input("bias", DType.F32, 1, d, Values.grid(1))
                .input("dOut", DType.F32, n, d, normal(1))
                .inPlace("dx", DType.F32, n, d, normal(1), Tolerance.sum(d))
                .inPlace("dWeight", DType.F32, 1, d, normal(1), Tolerance.sum(n + d))
                .inPlace("dBias", DType.F32, 1, d, normal(1), Tolerance.sum(n))
                .call((device, at) -> device.gradient().layerNormGradient(at.get("x"), at.get("weight"), EPS,
                        at.get("dOut"), at.get("dx"), at.get("dWeight"), at.get("dBias")));
        return new GradientCase(layer, (device, arena, at) -> {
            Tensor out = like(arena, at.get("x"));
            device.neural().layerNorm(at.get("x"), at.get("weight"), at.get("bias"), EPS, out);
            return out;
        }, "dOut", Map.of("x", "dx", "weight", "dWeight", "bias", "dBias"));
    }

    private static List<GradientCase> activations(long n, long d) {
        List<GradientCase> cases = new ArrayList<>();
        for (Activation activation : Activation.values()) {
            OpCase plain = op("activateGradient", activation + shape(n, d))
                    .inPlace("x", DType.F32, n, d, Values.grid(3), Tolerance.roundings(8))
                    .input("dOut", DType.F32, n, d, normal(1))
                    .call((device, at) -> device.gradient().activateGradient(activation, at.get("x"), at.get("dOut")));
            cases.add(new GradientCase(plain, (device, arena, at) -> {
                Tensor out = like(arena, at.get("x"));
                device.matrix().copy(at.get("x"), out);
                device.neural().activate(activation, out);
                return out;
            }, "dOut", Map.of("x", "x")));
            OpCase gated = op("activateGatedGradient", activation + shape(n, d))
                    .inPlace("gate", DType.F32, n, d, Values.grid(3), Tolerance.roundings(8))
                    .inPlace("up", DType.F32, n, d, Values.grid(1), Tolerance.roundings(8))
                    .input("dOut", DType.F32, n, d, normal(1)).call((device, at) -> device.gradient()
                            .activateGatedGradient(activation, at.get("gate"), at.get("up"), at.get("dOut")));
            cases.add(new GradientCase(gated, (device, arena, at) -> {
                Tensor out = like(arena, at.get("gate"));
                device.matrix().copy(at.get("gate"), out);
                device.neural().activateGated(activation, out, at.get("up"));
                return out;
            }, "dOut", Map.of("gate", "gate", "up", "up")));
        }
        return cases;
    }

    /** Far out, where exponentials overflow and underflow. */
    private static OpCase saturated() {
        return op("activateGradient", "SILU, GELU and GELU_TANH far out")
                .inPlace("x", DType.F32, 1, 40, Values.byIndex((row, column) -> (column - 20) * 10),
                        Tolerance.roundings(8))
                .inPlace("y", DType.F32, 1, 40, Values.byIndex((row, column) -> (column - 20) * 10),
                        Tolerance.roundings(8))
                .inPlace("z", DType.F32, 1, 40, Values.byIndex((row, column) -> (column - 20) * 10),
                        Tolerance.roundings(8))
                .input("dOut", DType.F32, 1, 40, Values.constant(1)).call((device, at) -> {
                    device.gradient().activateGradient(Activation.SILU, at.get("x"), at.get("dOut"));
                    device.gradient().activateGradient(Activation.GELU, at.get("y"), at.get("dOut"));
                    device.gradient().activateGradient(Activation.GELU_TANH, at.get("z"), at.get("dOut"));
                });
    }

    private static GradientCase rotary(long n, long positions, long heads, int headDim, long pairs,
            RotaryLayout layout) {
        OpCase rotary = op("rotaryGradient", layout + " " + shape(n, heads * headDim) + " positions " + positions
                + " headDim " + headDim + " pairs " + pairs)
                .input("x", DType.F32, n, heads * headDim, Values.grid(1))
                .inPlace("d", DType.F32, n, heads * headDim, normal(1), Tolerance.roundings(2))
                .input("cos", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .input("sin", DType.F32, positions, pairs, Values.uniform(-1, 1)).call((device, at) -> device.gradient()
                        .rotaryGradient(at.get("d"), headDim, at.get("cos"), at.get("sin"), layout));
        return new GradientCase(rotary, (device, arena, at) -> {
            Tensor out = like(arena, at.get("x"));
            device.matrix().copy(at.get("x"), out);
            device.neural().rotary(out, headDim, at.get("cos"), at.get("sin"), layout);
            return out;
        }, "d", Map.of("x", "d"));
    }

    private static GradientCase embed(long n, long vocabulary, long d) {
        OpCase embed = op("embedGradient", shape(n, d) + " of " + vocabulary)
                .input("ids", DType.I32, 1, n, Values.integers(0, (int) vocabulary - 1))
                .input("table", DType.F32, vocabulary, d, Values.grid(1)).input("dOut", DType.F32, n, d, normal(1))
                .inPlace("dTable", DType.F32, vocabulary, d, normal(1), Tolerance.sum(n))
                .call((device, at) -> device.gradient().embedGradient(at.get("ids"), at.get("dOut"),
                        at.get("dTable")));
        return new GradientCase(embed, (device, arena, at) -> {
            Tensor out = like(arena, at.get("dOut"));
            device.neural().embed(at.get("ids"), at.get("table"), out);
            return out;
        }, "dOut", Map.of("table", "dTable"));
    }

    private static GradientCase crossEntropy(long n, long vocabulary, Values logits) {
        OpCase loss = op("crossEntropyGradient", shape(n, vocabulary))
                .inPlace("logits", DType.F32, n, vocabulary, logits, Tolerance.roundings(8))
                .input("targets", DType.I32, 1, n, Values.integers(0, (int) vocabulary - 1))
                .input("weights", DType.F32, 1, n, Values.byIndex((row, r) -> r % 3 == 2 ? 0 : 1 + r))
                .call((device, at) -> device.gradient().crossEntropyGradient(at.get("logits"), at.get("targets"),
                        at.get("weights")));
        return new GradientCase(loss, (device, arena, at) -> {
            Tensor nll = arena.vector(DType.F64, n);
            device.neural().crossEntropy(at.get("logits"), at.get("targets"), nll);
            return nll;
        }, "weights", Map.of("logits", "logits"));
    }

    /** No op of its own: two products and addRowsInto are the gradient of linear. */
    private static GradientCase linear(long n, long in, long out) {
        OpCase linear = op("addRowsInto", "and gemm as linear's gradient [" + n + ", " + in + "] to " + out)
                .input("x", DType.F32, n, in, Values.grid(1)).input("w", DType.F32, out, in, Values.grid(1))
                .input("bias", DType.F32, 1, out, Values.grid(1)).input("dOut", DType.F32, n, out, normal(1))
                .output("dx", DType.F32, n, in, Tolerance.sum(out))
                .inPlace("dw", DType.F32, out, in, normal(1), Tolerance.sum(n))
                .inPlace("dBias", DType.F32, 1, out, normal(1), Tolerance.sum(n)).call((device, at) -> {
                    device.matrix().gemm(1, at.get("dOut"), false, at.get("w"), false, 0, at.get("dx"));
                    device.matrix().gemm(1, at.get("dOut"), true, at.get("x"), false, 1, at.get("dw"));
                    device.gradient().addRowsInto(at.get("dOut"), at.get("dBias"));
                });
        return new GradientCase(linear, (device, arena, at) -> {
            Tensor y = like(arena, at.get("dOut"));
            device.matrix().linear(at.get("x"), at.get("w"), at.get("bias"), 0, y);
            return y;
        }, "dOut", Map.of("x", "dx", "w", "dw", "bias", "dBias"));
    }

    /** Sums and scales of rows: exact where there is one rounding. */
    private static List<OpCase> rowOps(long n, long d) {
        return List.of(
                op("addRowsInto", shape(n, d)).input("x", DType.F32, n, d, normal(1))
                        .inPlace("sums", DType.F32, 1, d, normal(1), Tolerance.sum(n))
                        .call((device, at) -> device.gradient().addRowsInto(at.get("x"), at.get("sums"))),
                op("addSquares", shape(n, d)).input("x", DType.F32, n, d, normal(1))
                        .inPlace("squares", DType.F32, 1, n, normal(1), Tolerance.sum(d))
                        .call((device, at) -> device.gradient().addSquares(0.5f, at.get("x"), at.get("squares"))),
                op("scaleRows", shape(n, d)).input("x", DType.F32, n, d, normal(1))
                        .input("factors", DType.F32, 1, n, normal(1)).output("out", DType.F32, n, d, Tolerance.EXACT)
                        .call((device, at) -> device.gradient().scaleRows(at.get("x"), at.get("factors"),
                                at.get("out"))));
    }
}
