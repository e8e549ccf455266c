package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Activations.sigmoid;
import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;

/** clampedSwiglu and gateSigmoid, forward and backward. */
final class ReferenceGates {

    private ReferenceGates() {}

    static void clampedSwiglu(Tensor gate, Tensor up, float alpha, float limit) {
        for (long r = 0; r < gate.rows(); r++) {
            for (long c = 0; c < gate.columns(); c++) {
                double g = Math.min(get(gate, r, c), limit);
                double u = clamp(get(up, r, c), limit);
                set(gate, r, c, (u + 1) * g * sigmoid(alpha * g));
            }
        }
    }

    static void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut) {
        for (long r = 0; r < gate.rows(); r++) {
            for (long c = 0; c < gate.columns(); c++) {
                double g = Math.min(get(gate, r, c), limit);
                double u = clamp(get(up, r, c), limit);
                double s = sigmoid(alpha * g);
                double d = get(dOut, r, c);
                double ofGate = (u + 1) * (s + alpha * g * s * (1 - s)) * d;
                double ofUp = g * s * d;
                set(gate, r, c, get(gate, r, c) > limit ? 0 : ofGate);
                set(up, r, c, Math.abs(get(up, r, c)) > limit ? 0 : ofUp);
            }
        }
    }

    static void gateSigmoid(Tensor x, Tensor gate) {
        for (long r = 0; r < x.rows(); r++) {
            for (long c = 0; c < x.columns(); c++) {
                set(x, r, c, get(x, r, c) * sigmoid(get(gate, r, gate.columns() == 1 ? 0 : c)));
            }
        }
    }

    static void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d) {
        for (long r = 0; r < x.rows(); r++) {
            double sum = 0;
            for (long c = 0; c < x.columns(); c++) {
                boolean shared = gate.columns() == 1;
                double s = sigmoid(get(gate, r, shared ? 0 : c));
                double product = get(x, r, c) * get(d, r, c);
                sum += product * s * (1 - s);
                set(d, r, c, get(d, r, c) * s);
                if (!shared) {
                    set(gate, r, c, product * s * (1 - s));
                }
            }
            if (gate.columns() == 1) {
                set(gate, r, 0, sum);
            }
        }
    }

    static double clamp(double x, double limit) {
        return x > limit ? limit : x < -limit ? -limit : x;
    }
}
