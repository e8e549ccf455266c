package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.ops.NeuralOps.Activation;

/** The activation functions in float64. */
final class Activations {

    private Activations() {}

    static double apply(Activation activation, double x) {
        return switch (activation) {
            case SILU -> x / (1 + Math.exp(-x));
            case GELU -> 0.5 * x * ErrorFunction.erfc(-x / Math.sqrt(2));
            // 1/2 (1 + tanh u) = 1 / (1 + e^(-2u)), without the cancellation for u below 0
            case GELU_TANH -> x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case RELU -> Math.max(x, 0);
            case GELU_QUICK -> x * sigmoid(1.702 * x);
            case RELU_SQUARED -> Math.max(x, 0) * Math.max(x, 0);
            case SIGMOID -> sigmoid(x);
        };
    }

    static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    /** The derivative; that of RELU and of its square at 0 is 0. */
    static double slope(Activation activation, double x) {
        return switch (activation) {
            case SILU -> {
                double sigmoid = 1 / (1 + Math.exp(-x));
                yield sigmoid + x * sigmoid * (1 - sigmoid);
            }
            case GELU ->
                0.5 * ErrorFunction.erfc(-x / Math.sqrt(2)) + x * Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
            case GELU_TANH -> {
                double factor = 2 * Math.sqrt(2 / Math.PI);
                double sigmoid = 1 / (1 + Math.exp(-factor * (x + 0.044715 * x * x * x)));
                yield sigmoid + x * sigmoid * (1 - sigmoid) * factor * (1 + 3 * 0.044715 * x * x);
            }
            case RELU -> x > 0 ? 1 : 0;
            case GELU_QUICK -> {
                double sigmoid = sigmoid(1.702 * x);
                yield sigmoid + 1.702 * x * sigmoid * (1 - sigmoid);
            }
            case RELU_SQUARED -> 2 * Math.max(x, 0);
            case SIGMOID -> sigmoid(x) * (1 - sigmoid(x));
        };
    }
}
