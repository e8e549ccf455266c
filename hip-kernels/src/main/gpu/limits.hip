// NeuralOps.softcap and clamp with their gradients, in place.
#include "elements.h"

// x = cap tanh(x / cap)
KERNEL(256) softcap(float* x, i64 xStride, float cap, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = cap * tanhf(*at / cap);
    }
}

// d = d (1 - (y / cap)^2), y the output of softcap
KERNEL(256) softcap_gradient(const float* y, i64 yStride, float cap, float* d, i64 dStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float t = y[row * yStride + column] / cap;
        d[row * dStride + column] *= (1 - t) * (1 + t);
    }
}

// x = min(max(x, -limit), limit); NaN stays.
KERNEL(256) clamp(float* x, i64 xStride, float limit, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = *at > limit ? limit : *at < -limit ? -limit : *at;
    }
}

// d = 0 where clamp cut x off
KERNEL(256) clamp_gradient(const float* x, i64 xStride, float limit, float* d, i64 dStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        if (fabsf(x[row * xStride + column]) > limit) {
            d[row * dStride + column] = 0;
        }
    }
}
