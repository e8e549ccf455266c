package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of norms over groups of columns: around the 32 threads of a group and the 8 groups of a block. */
final class NormGroupCases {

    /** Keeps a group of one element, whose variance is 0, away from 0 / 0. */
    private static final float EPS = 0.1f;
    private static final int[] WIDTHS = {1, 2, 7, 8, 9, 16, 31, 32, 33, 64, 100, 128, 300};

    private NormGroupCases() {}

    /**
     * How the norm is called.
     *
     * @param own each group has its own weights
     */
    private record Shape(long rows, int groups, int width, boolean own) {

        long columns() {
            return (long) groups * width;
        }

        long weights() {
            return own ? columns() : width;
        }

        @Override
        public String toString() {
            return "[" + rows + ", " + groups + " x " + width + "]" + (own ? ", own weights" : "");
        }
    }

    private static List<Shape> shapes() {
        List<Shape> shapes = new ArrayList<>();
        for (int width : WIDTHS) {
            shapes.add(new Shape(3, 3, width, false));
            shapes.add(new Shape(3, 3, width, true));
        }
        shapes.add(new Shape(5, 1, 40, false));
        shapes.add(new Shape(300, 8, 12, false));
        shapes.add(new Shape(300, 8, 12, true));
        shapes.add(new Shape(0, 3, 4, true));
        shapes.add(new Shape(3, 0, 4, false));
        return shapes;
    }

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (Shape shape : shapes()) {
            cases.add(rms(shape));
            cases.add(rmsInPlace(shape));
            cases.add(layer(shape, true));
            cases.add(layer(shape, false));
        }
        gradients().forEach(gradient -> cases.add(gradient.backward()));
        return cases;
    }

    static List<GradientCase> gradients() {
        List<GradientCase> cases = new ArrayList<>();
        for (Shape shape : shapes()) {
            cases.add(rmsGradient(shape));
            cases.add(layerGradient(shape));
        }
        return cases;
    }

    /** Qwen3 8B's query and key heads, of 512 tokens. */
    static List<OpCase> bench() {
        Shape heads = new Shape(512, 40, 128, false);
        double bytes = heads.rows() * heads.columns() * 8.0;
        return List.of(rms(heads).bytes(bytes), layer(heads, true).bytes(bytes),
                rmsGradient(heads).backward().bytes(2 * bytes), layerGradient(heads).backward().bytes(2 * bytes));
    }

    private static OpCase rms(Shape shape) {
        return op("rmsNormGroups", shape.toString()).input("x", DType.F32, shape.rows(), shape.columns(), normal(3))
                .input("weight", DType.F32, 1, shape.weights(), normal(1))
                .output("out", DType.F32, shape.rows(), shape.columns(), Tolerance.sum(shape.width()))
                .call((device, at) -> device.neural().rmsNormGroups(at.get("x"), at.get("weight"), shape.width(), EPS,
                        at.get("out")));
    }

    private static OpCase rmsInPlace(Shape shape) {
        return op("rmsNormGroups", shape + " in place")
                .inPlace("x", DType.F32, shape.rows(), shape.columns(), normal(3), Tolerance.sum(shape.width()))
                .input("weight", DType.F32, 1, shape.weights(), normal(1)).call((device, at) -> device.neural()
                        .rmsNormGroups(at.get("x"), at.get("weight"), shape.width(), EPS, at.get("x")));
    }

    private static OpCase layer(Shape shape, boolean withBias) {
        return op("layerNormGroups", shape + (withBias ? " bias" : ""))
                .input("x", DType.F32, shape.rows(), shape.columns(), normal(3))
                .input("weight", DType.F32, 1, shape.weights(), normal(1))
                .input("bias", DType.F32, 1, shape.weights(), normal(1))
                .output("out", DType.F32, shape.rows(), shape.columns(), Tolerance.sum(shape.width()))
                .call((device, at) -> device.neural().layerNormGroups(at.get("x"), at.get("weight"),
                        withBias ? at.get("bias") : null, shape.width(), EPS, at.get("out")));
    }

    private static OpCase.Builder backward(String op, Shape shape) {
        long summed = shape.rows() * (shape.own() ? 1 : shape.groups());
        return op(op, shape.toString()).input("x", DType.F32, shape.rows(), shape.columns(), Values.grid(1))
                .input("weight", DType.F32, 1, shape.weights(), Values.grid(1))
                .input("dOut", DType.F32, shape.rows(), shape.columns(), normal(1))
                .inPlace("dx", DType.F32, shape.rows(), shape.columns(), normal(1), Tolerance.sum(shape.width()))
                .inPlace("dWeight", DType.F32, 1, shape.weights(), normal(1), Tolerance.sum(summed + shape.width()));
    }

    private static GradientCase rmsGradient(Shape shape) {
        OpCase rms = backward("rmsNormGroupsGradient", shape).call((device, at) -> device.gradient()
                .rmsNormGroupsGradient(at.get("x"), at.get("weight"), shape.width(), EPS, at.get("dOut"), at.get("dx"),
                        at.get("dWeight")));
        return new GradientCase(rms, (device, arena, at) -> {
            Tensor out = arena.matrix(DType.F32, shape.rows(), shape.columns());
            device.neural().rmsNormGroups(at.get("x"), at.get("weight"), shape.width(), EPS, out);
            return out;
        }, "dOut", Map.of("x", "dx", "weight", "dWeight"));
    }

    private static GradientCase layerGradient(Shape shape) {
        OpCase layer = backward("layerNormGroupsGradient", shape)
                .input("bias", DType.F32, 1, shape.weights(), Values.grid(1))
                .inPlace("dBias", DType.F32, 1, shape.weights(), normal(1),
                        Tolerance.sum(shape.rows() * shape.groups()))
                .call((device, at) -> device.gradient().layerNormGroupsGradient(at.get("x"), at.get("weight"),
                        shape.width(), EPS, at.get("dOut"), at.get("dx"), at.get("dWeight"), at.get("dBias")));
        return new GradientCase(layer, (device, arena, at) -> {
            Tensor out = arena.matrix(DType.F32, shape.rows(), shape.columns());
            device.neural().layerNormGroups(at.get("x"), at.get("weight"), at.get("bias"), shape.width(), EPS, out);
            return out;
        }, "dOut", Map.of("x", "dx", "weight", "dWeight", "bias", "dBias"));
    }
}
