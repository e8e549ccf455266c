package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/** The argument checks that ops and their gradients share; each names the op that was called. */
final class NeuralArguments {

    private NeuralArguments() {}

    static void convert(String op, Tensor source, Tensor target) {
        requireFloat(op, "source", source);
        requireFloat(op, "target", target);
        require(op, "target", target, target.dtype(), source.rows(), source.columns());
    }

    static void embed(String op, Tensor ids, Tensor table, Tensor out) {
        require(op, "ids", ids, DType.I32, 1, ids.columns());
        requireFloat(op, "table", table);
        require(op, "out", out, DType.F32, ids.columns(), table.columns());
    }

    static void rmsNorm(String op, Tensor x, Tensor weight, Tensor out) {
        requireType(op, "x", x, DType.F32);
        require(op, "weight", weight, DType.F32, 1, x.columns());
        requireRounded(op, out, x);
    }

    static void layerNorm(String op, Tensor x, Tensor weight, @Nullable Tensor bias, Tensor out) {
        requireType(op, "x", x, DType.F32);
        require(op, "weight", weight, DType.F32, 1, x.columns());
        if (bias != null) {
            require(op, "bias", bias, DType.F32, 1, x.columns());
        }
        requireRounded(op, out, x);
    }

    /** An output of x's shape, F32, F16 or BF16. */
    private static void requireRounded(String op, Tensor out, Tensor x) {
        boolean half = out.dtype() == DType.F16 || out.dtype() == DType.BF16;
        require(op, "out", out, half ? out.dtype() : DType.F32, x.rows(), x.columns());
    }

    static void rmsNormGroups(String op, Tensor x, Tensor weight, int width, Tensor out) {
        requireGroups(op, x, "weight", weight, width);
        require(op, "out", out, DType.F32, x.rows(), x.columns());
    }

    static void layerNormGroups(String op, Tensor x, Tensor weight, @Nullable Tensor bias, int width, Tensor out) {
        requireGroups(op, x, "weight", weight, width);
        if (bias != null) {
            require(op, "bias", bias, DType.F32, 1, weight.columns());
        }
        require(op, "out", out, DType.F32, x.rows(), x.columns());
    }

    private static void requireGroups(String op, Tensor x, String name, Tensor weight, int width) {
        requireType(op, "x", x, DType.F32);
        if (width < 1 || x.columns() % width != 0) {
            throw bad(op, "width must divide x's columns: width " + width + ", x " + x);
        }
        require(op, name, weight, DType.F32, 1, weight.columns() == width ? width : x.columns());
    }

    static void rotary(String op, Tensor x, int headDim, Tensor cos, Tensor sin) {
        requireType(op, "x", x, DType.F32);
        requireType(op, "cos", cos, DType.F32);
        require(op, "sin", sin, DType.F32, cos.rows(), cos.columns());
        if (headDim < 1 || x.columns() % headDim != 0) {
            throw bad(op, "headDim must divide x's columns: headDim " + headDim + ", x " + x);
        }
        if (2 * cos.columns() > headDim) {
            throw bad(op, "cos holds more pairs than a head: headDim " + headDim + ", cos " + cos);
        }
        requireSequences(op, x, cos.rows());
    }

    static void rotaryTo(String op, Tensor x, int headDim, Tensor cos, Tensor sin, Tensor out) {
        rotary(op, x, headDim, cos, sin);
        requireRounded(op, out, x);
    }

    static void attention(String op, Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks,
            AttentionShape shape, Tensor out) {
        if (q.dtype() != DType.F16 && q.dtype() != DType.BF16) {
            requireType(op, "q", q, DType.F32);
        }
        require(op, "q", q, q.dtype(), q.rows(), (long) shape.heads() * shape.headDim());
        require(op, "k", k, q.dtype(), q.rows(), (long) shape.kvHeads() * shape.headDim());
        require(op, "v", v, q.dtype(), q.rows(), (long) shape.kvHeads() * shape.valueDim());
        require(op, "out", out, DType.F32, q.rows(), (long) shape.heads() * shape.valueDim());
        if (slopes != null) {
            require(op, "slopes", slopes, DType.F32, 1, shape.heads());
        }
        if (sinks != null) {
            require(op, "sinks", sinks, DType.F32, 1, shape.heads());
        }
        requireSequences(op, q, shape.sequenceLength());
    }

    static void activate(String op, Tensor x) {
        requireType(op, "x", x, DType.F32);
    }

    static void activateGated(String op, Tensor gate, Tensor up, Tensor out) {
        requireType(op, "gate", gate, DType.F32);
        require(op, "up", up, DType.F32, gate.rows(), gate.columns());
        requireRounded(op, out, gate);
    }

    static void clampedSwiglu(String op, Tensor gate, Tensor up, float limit) {
        requireType(op, "gate", gate, DType.F32);
        require(op, "up", up, DType.F32, gate.rows(), gate.columns());
        requireBound(op, "limit", limit);
    }

    static void gateSigmoid(String op, Tensor x, Tensor gate) {
        requireType(op, "x", x, DType.F32);
        require(op, "gate", gate, DType.F32, x.rows(), gate.columns() == 1 ? 1 : x.columns());
    }

    static void scale(String op, Tensor x) {
        requireType(op, "x", x, DType.F32);
    }

    static void softcap(String op, Tensor x, float cap) {
        requireType(op, "x", x, DType.F32);
        requireBound(op, "cap", cap);
        if (cap == 0) {
            throw bad(op, "cap: expected above 0, found " + cap);
        }
    }

    static void clamp(String op, Tensor x, float limit) {
        requireType(op, "x", x, DType.F32);
        requireBound(op, "limit", limit);
    }

    static void add(String op, Tensor x, Tensor y) {
        requireType(op, "x", x, DType.F32);
        require(op, "y", y, DType.F32, x.rows(), x.columns());
    }

    static void addRow(String op, Tensor x, Tensor row) {
        requireType(op, "x", x, DType.F32);
        require(op, "row", row, DType.F32, 1, x.columns());
    }

    static void crossEntropy(String op, Tensor logits, Tensor targets, Tensor nll) {
        requireType(op, "logits", logits, DType.F32);
        require(op, "targets", targets, DType.I32, 1, logits.rows());
        require(op, "nll", nll, DType.F64, 1, logits.rows());
    }

    static void klDivergence(String op, Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        requireType(op, "teacher", teacher, DType.F32);
        require(op, "student", student, DType.F32, teacher.rows(), teacher.columns());
        require(op, "kl", kl, DType.F64, 1, teacher.rows());
        require(op, "agrees", agrees, DType.I32, 1, teacher.rows());
    }

    static void countNonFinite(String op, Tensor x, Tensor count) {
        requireFloat(op, "x", x);
        require(op, "count", count, DType.I64, 1, 1);
    }

    private static void require(String op, String name, Tensor tensor, DType dtype, long rows, long columns) {
        Arguments.shaped(op, name, tensor, dtype, rows, columns);
    }

    private static void requireType(String op, String name, Tensor tensor, DType dtype) {
        require(op, name, tensor, dtype, tensor.rows(), tensor.columns());
    }

    private static void requireFloat(String op, String name, Tensor tensor) {
        if (!tensor.dtype().isFloat()) {
            throw bad(op, name + ": expected a float dtype, found " + tensor);
        }
    }

    private static void requireBound(String op, String name, float bound) {
        if (!(bound >= 0)) {
            throw bad(op, name + ": expected at least 0, found " + bound);
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

    /** Square matrices one under the other. */
    static void attentionMatrices(String op, String name, Tensor all, int window) {
        Arguments.f32(op, name, all, all.rows(), all.columns());
        if (window < 0 || all.columns() == 0 || all.rows() % all.columns() != 0) {
            throw new IllegalArgumentException(
                    op + ": " + name + ": expected [B * T, T] and a window from 0 up, found " + all + ", " + window);
        }
    }
}
