// GradientOps.activateGradient and activateGatedGradient, in place.
#include "activation.h"

// The derivative of activation(kind, x); that of RELU and of its square at 0 is 0.
DEVICE float slope(int kind, float x) {
    switch (kind) {
        case SILU: {
            float e = decay(x);
            float s = 1 / (1 + e);
            return fmaf(x * s, e * s, s);
        }
        case GELU:  // Phi(x) + x phi(x), Phi the normal distribution and phi its density
            return fmaf(0.3989422804014327f * x, expf(-0.5f * x * x), 0.5f * erfcf(-0.70710678118654752f * x));
        case GELU_TANH: {
            float e = decay(TANH_LINEAR * fmaf(0.044715f * x * x, x, x));
            float s = 1 / (1 + e);
            return fmaf(x * s * (e * s), TANH_LINEAR * fmaf(0.134145f * x, x, 1.0f), s);
        }
        case GELU_QUICK: {
            float e = decay(QUICK_LINEAR * x);
            float s = 1 / (1 + e);
            return fmaf(QUICK_LINEAR * x * s, e * s, s);
        }
        case RELU_SQUARED: return x > 0 ? 2 * x : 0.0f;
        case SIGMOID: {
            float e = decay(x);
            float s = 1 / (1 + e);
            return e * s * s;
        }
        default: return x > 0 ? 1.0f : 0.0f;  // RELU
    }
}

// x = f'(x) dOut
KERNEL(256) activate_gradient(int kind, float* x, i64 xStride, const float* dOut, i64 dOutStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = slope(kind, *at) * dOut[row * dOutStride + column];
    }
}

// gate = f'(gate) up dOut and up = f(gate) dOut
KERNEL(256) activate_gated_gradient(int kind, float* gate, i64 gateStride, float* up, i64 upStride, const float* dOut,
                                    i64 dOutStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* gateAt = gate + row * gateStride + column;
        float* upAt = up + row * upStride + column;
        float g = *gateAt;
        float d = dOut[row * dOutStride + column];
        *gateAt = slope(kind, g) * *upAt * d;
        *upAt = activation(kind, g) * d;
    }
}
