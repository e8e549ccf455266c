package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of gates, caps and scales. */
final class GateCases {

    private static final long[] SIZES = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 384};
    private static final float ALPHA = 1.702f;
    /** Cuts off some of the values, and none within a step of finite differences: grids have no value near it. */
    private static final float LIMIT = 2.00195f;

    private GateCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        forShapes((n, d) -> cases.addAll(forward(n, d)));
        gradients().forEach(gradient -> cases.add(gradient.backward()));
        cases.add(op("clamp", "NaN and infinities")
                .inPlace("x", DType.F32, 1, 4, Values.of(Double.NaN, Double.NEGATIVE_INFINITY,
                        Double.POSITIVE_INFINITY, 1), Tolerance.EXACT)
                .call((device, at) -> device.neural().clamp(at.get("x"), LIMIT)));
        return cases;
    }

    @FunctionalInterface
    private interface OfShape {
        void accept(long rows, long columns);
    }

    private static void forShapes(OfShape body) {
        for (long d : SIZES) {
            body.accept(3, d);
        }
        body.accept(700, 129);
        body.accept(0, 4);
        body.accept(3, 0);
    }

    static List<GradientCase> gradients() {
        List<GradientCase> cases = new ArrayList<>();
        forShapes((n, d) -> cases.addAll(backward(n, d)));
        return cases;
    }

    /** gpt-oss 20B's experts, 256 tokens, and the logits of as many. */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>();
        forward(256, 2880).forEach(gate -> cases.add(gate.bytes(256 * 2880 * 8.0)));
        backward(256, 2880).forEach(gate -> cases.add(gate.backward().bytes(256 * 2880 * 16.0)));
        return cases;
    }

    private static String shape(long rows, long columns) {
        return "[" + rows + ", " + columns + "]";
    }

    private static List<OpCase> forward(long n, long d) {
        Tolerance few = Tolerance.roundings(8);
        return List.of(
                op("clampedSwiglu", shape(n, d)).inPlace("gate", DType.F32, n, d, normal(2), few)
                        .input("up", DType.F32, n, d, normal(2)).call((device, at) -> device.neural()
                                .clampedSwiglu(at.get("gate"), at.get("up"), ALPHA, LIMIT)),
                gate(n, d, d), gate(n, d, 1),
                op("scale", shape(n, d)).inPlace("x", DType.F32, n, d, normal(1), Tolerance.EXACT)
                        .call((device, at) -> device.neural().scale(at.get("x"), 0.22f)),
                op("softcap", shape(n, d)).inPlace("x", DType.F32, n, d, normal(20), few)
                        .call((device, at) -> device.neural().softcap(at.get("x"), 30)),
                op("clamp", shape(n, d)).inPlace("x", DType.F32, n, d, normal(2), Tolerance.EXACT)
                        .call((device, at) -> device.neural().clamp(at.get("x"), LIMIT)));
    }

    private static OpCase gate(long n, long d, long gates) {
        return op("gateSigmoid", shape(n, d) + " by " + gates)
                .inPlace("x", DType.F32, n, d, normal(1), Tolerance.roundings(8))
                .input("gate", DType.F32, n, gates, normal(4))
                .call((device, at) -> device.neural().gateSigmoid(at.get("x"), at.get("gate")));
    }

    private static List<GradientCase> backward(long n, long d) {
        return List.of(swigluGradient(n, d), gateGradient(n, d, d), gateGradient(n, d, 1), softcapGradient(n, d),
                clampGradient(n, d));
    }

    private static GradientCase swigluGradient(long n, long d) {
        OpCase swiglu = op("clampedSwigluGradient", shape(n, d))
                .inPlace("gate", DType.F32, n, d, awayFromLimit(), Tolerance.roundings(8))
                .inPlace("up", DType.F32, n, d, awayFromLimit(), Tolerance.roundings(8))
                .input("dOut", DType.F32, n, d, normal(1)).call((device, at) -> device.gradient()
                        .clampedSwigluGradient(at.get("gate"), at.get("up"), ALPHA, LIMIT, at.get("dOut")));
        return new GradientCase(swiglu, (device, arena, at) -> {
            Tensor out = copy(device.matrix()::copy, arena.matrix(DType.F32, n, d), at.get("gate"));
            device.neural().clampedSwiglu(out, at.get("up"), ALPHA, LIMIT);
            return out;
        }, "dOut", Map.of("gate", "gate", "up", "up"));
    }

    private static GradientCase gateGradient(long n, long d, long gates) {
        OpCase gate = op("gateSigmoidGradient", shape(n, d) + " by " + gates)
                .input("x", DType.F32, n, d, Values.grid(1))
                .inPlace("gate", DType.F32, n, gates, Values.grid(2), Tolerance.sum(d + 16))
                .inPlace("d", DType.F32, n, d, normal(1), Tolerance.roundings(8)).call((device, at) -> device
                        .gradient().gateSigmoidGradient(at.get("x"), at.get("gate"), at.get("d")));
        return new GradientCase(gate, (device, arena, at) -> {
            Tensor out = copy(device.matrix()::copy, arena.matrix(DType.F32, n, d), at.get("x"));
            device.neural().gateSigmoid(out, at.get("gate"));
            return out;
        }, "d", Map.of("x", "d", "gate", "gate"));
    }

    /** The forward op runs first: its output is what the gradient takes. */
    private static GradientCase softcapGradient(long n, long d) {
        OpCase softcap = op("softcapGradient", shape(n, d)).input("x", DType.F32, n, d, Values.grid(3))
                .output("y", DType.F32, n, d, Tolerance.roundings(8))
                .inPlace("d", DType.F32, n, d, normal(1), Tolerance.roundings(8)).call((device, at) -> {
                    device.matrix().copy(at.get("x"), at.get("y"));
                    device.neural().softcap(at.get("y"), 4);
                    device.gradient().softcapGradient(at.get("y"), 4, at.get("d"));
                });
        return new GradientCase(softcap, (device, arena, at) -> {
            Tensor out = copy(device.matrix()::copy, arena.matrix(DType.F32, n, d), at.get("x"));
            device.neural().softcap(out, 4);
            return out;
        }, "d", Map.of("x", "d"));
    }

    private static GradientCase clampGradient(long n, long d) {
        OpCase clamp = op("clampGradient", shape(n, d)).input("x", DType.F32, n, d, awayFromLimit())
                .inPlace("d", DType.F32, n, d, normal(1), Tolerance.EXACT)
                .call((device, at) -> device.gradient().clampGradient(at.get("x"), LIMIT, at.get("d")));
        return new GradientCase(clamp, (device, arena, at) -> {
            Tensor out = copy(device.matrix()::copy, arena.matrix(DType.F32, n, d), at.get("x"));
            device.neural().clamp(out, LIMIT);
            return out;
        }, "d", Map.of("x", "d"));
    }

    /** Multiples of 1/256, none within 1/8 of the limit or its negative. */
    private static Values awayFromLimit() {
        return (random, rows, columns) -> () -> {
            double value = Math.rint(512 * random.nextGaussian()) / 256;
            return Math.abs(Math.abs(value) - LIMIT) < 0.125 ? value / 2 : value;
        };
    }

    @FunctionalInterface
    private interface Copy {
        void run(Tensor source, Tensor target);
    }

    private static Tensor copy(Copy copy, Tensor target, Tensor source) {
        copy.run(source, target);
        return target;
    }
}
