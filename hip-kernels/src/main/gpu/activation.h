// The activation functions, for the forward op and its gradient.
#ifndef OPTGPTQ_ACTIVATION_H
#define OPTGPTQ_ACTIVATION_H
#include "elements.h"

// GpuNeuralOps.java passes these.
#define SILU 0
#define GELU 1
#define GELU_TANH 2

// 2 sqrt(2 / pi): 1/2 (1 + tanh u) = 1 / (1 + e^(-2u)), without the cancellation for u below 0.
#define TANH_LINEAR 1.5957691216057308f

DEVICE float activation(int kind, float x) {
    switch (kind) {
        case SILU: return x / (1 + expf(-x));
        case GELU: return 0.5f * x * erfcf(-0.70710678118654752f * x);
        case GELU_TANH: return x / (1 + expf(-TANH_LINEAR * fmaf(0.044715f * x * x, x, x)));
        default: return x < 0 ? 0.0f : x;  // RELU
    }
}

#endif
