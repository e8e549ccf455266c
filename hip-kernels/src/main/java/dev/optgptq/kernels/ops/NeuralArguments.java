package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/**
 * The argument checks of NeuralOps, shared by its twins: each op calls its namesake here first. They throw
 * IllegalArgumentException naming the op, the argument, what was expected and what was found.
 */
public final class NeuralArguments {

    private NeuralArguments() {}

    public static void convert(Tensor source, Tensor target) {
        requireFloat("convert", "source", source);
        requireFloat("convert", "target", target);
        require("convert", "target", target, target.dtype(), source.rows(), source.columns());
    }

    public static void embed(Tensor ids, Tensor table, Tensor out) {
        require("embed", "ids", ids, DType.I32, 1, ids.columns());
        requireFloat("embed", "table", table);
        require("embed", "out", out, DType.F32, ids.columns(), table.columns());
    }

    public static void rmsNorm(Tensor x, Tensor weight, Tensor out) {
        requireType("rmsNorm", "x", x, DType.F32);
        require("rmsNorm", "weight", weight, DType.F32, 1, x.columns());
        require("rmsNorm", "out", out, DType.F32, x.rows(), x.columns());
    }

    public static void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, Tensor out) {
        requireType("layerNorm", "x", x, DType.F32);
        require("layerNorm", "weight", weight, DType.F32, 1, x.columns());
        if (bias != null) {
            require("layerNorm", "bias", bias, DType.F32, 1, x.columns());
        }
        require("layerNorm", "out", out, DType.F32, x.rows(), x.columns());
    }

    public static void rmsNormGroups(Tensor x, Tensor weight, int width, Tensor out) {
        requireGroups("rmsNormGroups", x, "weight", weight, width);
        require("rmsNormGroups", "out", out, DType.F32, x.rows(), x.columns());
    }

    public static void layerNormGroups(Tensor x, Tensor weight, @Nullable Tensor bias, int width, Tensor out) {
        requireGroups("layerNormGroups", x, "weight", weight, width);
        if (bias != null) {
            require("layerNormGroups", "bias", bias, DType.F32, 1, weight.columns());
        }
        require("layerNormGroups", "out", out, DType.F32, x.rows(), x.columns());
    }

    private static void requireGroups(String op, Tensor x, String name, Tensor weight, int width) {
        requireType(op, "x", x, DType.F32);
        if (width < 1 || x.columns() % width != 0) {
            throw bad(op, "width must divide x's columns: width " + width + ", x " + x);
        }
        require(op, name, weight, DType.F32, 1, weight.columns() == width ? width : x.columns());
    }

    public static void rotary(Tensor x, int headDim, Tensor cos, Tensor sin) {
        requireType("rotary", "x", x, DType.F32);
        requireType("rotary", "cos", cos, DType.F32);
        require("rotary", "sin", sin, DType.F32, cos.rows(), cos.columns());
        if (headDim < 1 || x.columns() % headDim != 0) {
            throw bad("rotary", "headDim must divide x's columns: headDim " + headDim + ", x " + x);
        }
        if (2 * cos.columns() > headDim) {
            throw bad("rotary", "cos holds more pairs than a head: headDim " + headDim + ", cos " + cos);
        }
        requireSequences("rotary", x, cos.rows());
    }

    public static void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks,
            AttentionShape shape, Tensor out) {
        if (q.dtype() != DType.F16 && q.dtype() != DType.BF16) {
            requireType("attention", "q", q, DType.F32);
        }
        require("attention", "q", q, q.dtype(), q.rows(), (long) shape.heads() * shape.headDim());
        require("attention", "k", k, q.dtype(), q.rows(), (long) shape.kvHeads() * shape.headDim());
        require("attention", "v", v, q.dtype(), q.rows(), (long) shape.kvHeads() * shape.valueDim());
        require("attention", "out", out, DType.F32, q.rows(), (long) shape.heads() * shape.valueDim());
        if (slopes != null) {
            require("attention", "slopes", slopes, DType.F32, 1, shape.heads());
        }
        if (sinks != null) {
            require("attention", "sinks", sinks, DType.F32, 1, shape.heads());
        }
        requireSequences("attention", q, shape.sequenceLength());
    }

    public static void activate(Tensor x) {
        requireType("activate", "x", x, DType.F32);
    }

    public static void activateGated(Tensor gate, Tensor up) {
        requireType("activateGated", "gate", gate, DType.F32);
        require("activateGated", "up", up, DType.F32, gate.rows(), gate.columns());
    }

    public static void clampedSwiglu(Tensor gate, Tensor up, float limit) {
        requireType("clampedSwiglu", "gate", gate, DType.F32);
        require("clampedSwiglu", "up", up, DType.F32, gate.rows(), gate.columns());
        requireBound("clampedSwiglu", "limit", limit);
    }

    public static void gateSigmoid(Tensor x, Tensor gate) {
        requireType("gateSigmoid", "x", x, DType.F32);
        require("gateSigmoid", "gate", gate, DType.F32, x.rows(), gate.columns() == 1 ? 1 : x.columns());
    }

    public static void scale(Tensor x) {
        requireType("scale", "x", x, DType.F32);
    }

    public static void softcap(Tensor x, float cap) {
        requireType("softcap", "x", x, DType.F32);
        requireBound("softcap", "cap", cap);
        if (cap == 0) {
            throw bad("softcap", "cap must be above 0");
        }
    }

    public static void clamp(Tensor x, float limit) {
        requireType("clamp", "x", x, DType.F32);
        requireBound("clamp", "limit", limit);
    }

    public static void add(Tensor x, Tensor y) {
        requireType("add", "x", x, DType.F32);
        require("add", "y", y, DType.F32, x.rows(), x.columns());
    }

    public static void addRow(Tensor x, Tensor row) {
        requireType("addRow", "x", x, DType.F32);
        require("addRow", "row", row, DType.F32, 1, x.columns());
    }

    public static void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        requireType("crossEntropy", "logits", logits, DType.F32);
        require("crossEntropy", "targets", targets, DType.I32, 1, logits.rows());
        require("crossEntropy", "nll", nll, DType.F64, 1, logits.rows());
    }

    public static void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        requireType("klDivergence", "teacher", teacher, DType.F32);
        require("klDivergence", "student", student, DType.F32, teacher.rows(), teacher.columns());
        require("klDivergence", "kl", kl, DType.F64, 1, teacher.rows());
        require("klDivergence", "agrees", agrees, DType.I32, 1, teacher.rows());
    }

    public static void countNonFinite(Tensor x, Tensor count) {
        requireFloat("countNonFinite", "x", x);
        require("countNonFinite", "count", count, DType.I64, 1, 1);
    }

    /** An id of embed or a target of crossEntropy, read by a twin whose memory the host can read. */
    public static int token(String op, int id, long position, long vocabulary) {
        if (id < 0 || id >= vocabulary) {
            throw bad(op, "token " + position + " is " + id + ", outside [0, " + vocabulary + ")");
        }
        return id;
    }

    private static void require(String op, String name, Tensor tensor, DType dtype, long rows, long columns) {
        if (tensor.dtype() != dtype || tensor.rows() != rows || tensor.columns() != columns) {
            throw bad(op, name + " must be " + dtype + "[" + rows + ", " + columns + "], found " + tensor);
        }
    }

    private static void requireType(String op, String name, Tensor tensor, DType dtype) {
        require(op, name, tensor, dtype, tensor.rows(), tensor.columns());
    }

    private static void requireFloat(String op, String name, Tensor tensor) {
        if (!tensor.dtype().isFloat()) {
            throw bad(op, name + " must be of a float dtype, found " + tensor);
        }
    }

    private static void requireBound(String op, String name, float bound) {
        if (!(bound >= 0)) {
            throw bad(op, name + " must be at least 0, found " + bound);
        }
    }

    private static void requireSequences(String op, Tensor tensor, long sequenceLength) {
        if (sequenceLength < 1 || tensor.rows() % sequenceLength != 0) {
            throw bad(op, "rows must be whole sequences of " + sequenceLength + ", found " + tensor);
        }
    }

    private static IllegalArgumentException bad(String op, String what) {
        return new IllegalArgumentException(op + ": " + what);
    }
}
