package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.getByte;
import static dev.optgptq.kernels.reference.Elements.getFloat;
import static dev.optgptq.kernels.reference.Elements.getInt;
import static dev.optgptq.kernels.reference.Elements.set;
import static dev.optgptq.kernels.reference.Elements.setByte;

import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps.DescentProblem;
import java.util.Objects;

/** The definition of QuantOps.descendCodes: one rounding per operation, sums in the order of the inputs. */
final class ReferenceDescent {

    private ReferenceDescent() {}

    static void codes(DescentProblem p) {
        int inputs = Math.toIntExact(p.codes().rows());
        for (long o = 0; o < p.codes().columns(); o++) {
            float[] gradient = new float[inputs];
            for (int i = 0; i < inputs; i++) {
                gradient[i] = getFloat(p.gradient(), i, o);
            }
            for (int i = 0; i < inputs; i++) {
                float move = moveCode(p, i, o, gradient[i]);
                for (int j = i + 1; j < inputs; j++) {
                    gradient[j] = Math.fma(getFloat(p.h(), i, j), move, gradient[j]);
                }
            }
        }
    }

    /** The change of the weight. */
    private static float moveCode(DescentProblem p, int i, long o, float gradient) {
        long group = Objects.checkIndex(getInt(p.groupOf(), 0, i), p.scales().rows());
        float scale = getFloat(p.scales(), group, o);
        int zero = getInt(p.zeros(), group, o);
        float pivot = getFloat(p.h(), i, i);
        float value = Grid.value(getByte(p.codes(), i, o), scale, zero);
        float target = value - gradient / pivot;
        int code = p.grid().code(target, scale, zero);
        float move = Grid.value(code, scale, zero) - value;
        if (Float.isNaN(target) || !lowers(move, gradient, pivot)) {
            return 0;
        }
        setByte(p.codes(), i, o, code);
        set(p.errors(), i, o, getFloat(p.errors(), i, o) + move);
        return move;
    }

    /** Whether a move lowers an objective with this gradient (half of it, h d) and curvature along it. */
    private static boolean lowers(float move, float gradient, float curvature) {
        return move * (gradient + gradient + curvature * move) < 0;
    }
}
