// NeuralOps.rmsNorm and layerNorm: a block per row.
#include "reduce.h"

// out = x / sqrt(mean(x^2) + eps) * weight
KERNEL(THREADS) rms_norm(const float* x, i64 xStride, const float* weight, float eps, float* out, i64 outStride,
                         i64 columns) {
    SHARED(float, scratch, THREADS);
    const float* in = x + blockIdx.x * xStride;
    float squares = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        squares = fmaf(in[c], in[c], squares);
    }
    float scale = 1 / sqrtf(block_reduce<Sum>(squares, scratch) / columns + eps);
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        out[blockIdx.x * outStride + c] = in[c] * scale * weight[c];
    }
}

// out = (x - mean) / sqrt(var + eps) * weight + bias, biased variance; bias may be null.
KERNEL(THREADS) layer_norm(const float* x, i64 xStride, const float* weight, const float* bias, float eps, float* out,
                           i64 outStride, i64 columns) {
    SHARED(float, scratch, THREADS);
    const float* in = x + blockIdx.x * xStride;
    float sum = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        sum += in[c];
    }
    float mean = block_reduce<Sum>(sum, scratch) / columns;
    float squares = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        squares = fmaf(in[c] - mean, in[c] - mean, squares);
    }
    float scale = 1 / sqrtf(block_reduce<Sum>(squares, scratch) / columns + eps);
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        out[blockIdx.x * outStride + c] = fmaf((in[c] - mean) * scale, weight[c], bias == 0 ? 0.0f : bias[c]);
    }
}
