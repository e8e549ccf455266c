// The activation functions, for the forward op and its gradient.
#ifndef OPTGPTQ_ACTIVATION_H
#define OPTGPTQ_ACTIVATION_H
#include "elements.h"

// Codes that GpuNeuralOps.java passes.
#define SILU 0
#define GELU 1
#define GELU_TANH 2
#define RELU 3
#define GELU_QUICK 4
#define RELU_SQUARED 5
#define SIGMOID 6

// 2 sqrt(2 / pi): 1/2 (1 + tanh u) = 1 / (1 + e^(-2u)), without the cancellation for u below 0.
#define TANH_LINEAR 1.5957691216057308f
#define QUICK_LINEAR 1.702f

DEVICE float activation(int kind, float x) {
    switch (kind) {
        case SILU: return x / (1 + expf(-x));
        case GELU: return 0.5f * x * erfcf(-0.70710678118654752f * x);
        case GELU_TANH: return x / (1 + expf(-TANH_LINEAR * fmaf(0.044715f * x * x, x, x)));
        case GELU_QUICK: return x / (1 + expf(-QUICK_LINEAR * x));
        case RELU_SQUARED: return x < 0 ? 0.0f : x * x;
        case SIGMOID: return 1 / (1 + expf(-x));
        default: return x < 0 ? 0.0f : x;  // RELU
    }
}

// e^min(-x, 80): finite, so that 1 - s = e s holds for the sigmoid s = 1 / (1 + e), which loses nothing where s is near 1.
DEVICE float decay(float x) { return expf(-x > 80 ? 80.0f : -x); }

#endif
