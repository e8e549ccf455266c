// The gates of NeuralOps that are no activation of one input: clampedSwiglu and gateSigmoid, with their gradients, in place.
#include "activation.h"
#include "reduce.h"

DEVICE float clamped(float x, float limit) { return x > limit ? limit : x < -limit ? -limit : x; }

// gate = (clamp(up) + 1) g sigmoid(alpha g), g = min(gate, limit)
KERNEL(256) clamped_swiglu(float* gate, i64 gateStride, const float* up, i64 upStride, float alpha, float limit,
                           i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = gate + row * gateStride + column;
        float g = *at > limit ? limit : *at;
        *at = (clamped(up[row * upStride + column], limit) + 1) * (g / (1 + expf(-alpha * g)));
    }
}

// gate and up become their gradients; 0 where they were cut off.
KERNEL(256) clamped_swiglu_gradient(float* gate, i64 gateStride, float* up, i64 upStride, float alpha, float limit,
                                    const float* dOut, i64 dOutStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* gateAt = gate + row * gateStride + column;
        float* upAt = up + row * upStride + column;
        float d = dOut[row * dOutStride + column];
        float g = *gateAt > limit ? limit : *gateAt;
        float e = decay(alpha * g);
        float s = 1 / (1 + e);
        float u = clamped(*upAt, limit) + 1;
        *gateAt = *gateAt > limit ? 0.0f : u * fmaf(alpha * g * s, e * s, s) * d;
        *upAt = fabsf(*upAt) > limit ? 0.0f : g * s * d;
    }
}

// x = x sigmoid(gate); gateStep 1, or 0 where a row shares its gate
KERNEL(256) gate_sigmoid(float* x, i64 xStride, const float* gate, i64 gateStride, int gateStep, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        x[row * xStride + column] *= 1 / (1 + expf(-gate[row * gateStride + column * gateStep]));
    }
}

// d becomes the gradient for x, gate its own.
KERNEL(256) gate_sigmoid_gradient(const float* x, i64 xStride, float* gate, i64 gateStride, float* d, i64 dStride,
                                  i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* gateAt = gate + row * gateStride + column;
        float* at = d + row * dStride + column;
        float e = decay(*gateAt);
        float s = 1 / (1 + e);
        *gateAt = x[row * xStride + column] * *at * (e * s * s);
        *at *= s;
    }
}

// The same where a row shares its gate, whose gradient is a sum: a block per row.
KERNEL(THREADS) gate_row_gradient(const float* x, i64 xStride, float* gate, i64 gateStride, float* d, i64 dStride,
                                  i64 columns) {
    SHARED(float, scratch, THREADS);
    i64 row = blockIdx.x;
    float e = decay(gate[row * gateStride]);
    float s = 1 / (1 + e);
    float sum = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        float* at = d + row * dStride + c;
        sum = fmaf(x[row * xStride + c], *at, sum);
        *at *= s;
    }
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) {
        gate[row * gateStride] = sum * (e * s * s);
    }
}
