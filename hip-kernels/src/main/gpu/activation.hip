// NeuralOps.activate and activateGated, in place.
#include "elements.h"

// GpuNeuralOps.java passes NeuralOps.Activation's ordinal.
DEVICE float activation(int kind, float x) {
    switch (kind) {
        case 0: return x / (1 + expf(-x));                                                      // SILU
        case 1: return 0.5f * x * erfcf(-0.70710678118654752f * x);                             // GELU
        // 1/2 (1 + tanh u) = 1 / (1 + e^(-2u)), without the cancellation for u below 0
        case 2: return x / (1 + expf(-1.5957691216057308f * fmaf(0.044715f * x * x, x, x)));    // GELU_TANH
        default: return x < 0 ? 0.0f : x;                                                       // RELU
    }
}

KERNEL(256) activate(int kind, float* x, i64 xStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = activation(kind, *at);
    }
}

KERNEL(256) activate_gated(int kind, float* gate, i64 gateStride, const float* up, i64 upStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = gate + row * gateStride + column;
        *at = activation(kind, *at) * up[row * upStride + column];
    }
}
