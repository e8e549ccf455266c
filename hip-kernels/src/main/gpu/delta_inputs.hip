// The ops of DeltaOps before the rule: causalConvolution and deltaDecay with their gradients.
#include "elements.h"
#include "reduce.h"

// out[t, c] = bias[c] + sum_i weight[c, i] x[t - (taps - 1) + i, c], 0 before a sequence's start; bias may be null.
KERNEL(256) causal_convolution(const float* x, i64 xStride, const float* weight, i64 weightStride, int taps,
                               const float* bias, int length, float* out, i64 outStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        int t = (int)(row % length);
        float sum = bias == 0 ? 0.0f : bias[column];
        for (int i = t >= taps - 1 ? 0 : taps - 1 - t; i < taps; i++) {
            sum = fmaf(weight[column * weightStride + i], x[(row - (taps - 1) + i) * xStride + column], sum);
        }
        out[row * outStride + column] = sum;
    }
}

// dx[t, c] = sum_i weight[c, i] dOut[t + (taps - 1) - i, c], 0 after the sequence's end
KERNEL(256) causal_convolution_gradient(const float* weight, i64 weightStride, int taps, int length, const float* dOut,
                                        i64 dOutStride, float* dx, i64 dxStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        int left = length - 1 - (int)(row % length);
        float sum = 0;
        for (int i = left >= taps - 1 ? 0 : taps - 1 - left; i < taps; i++) {
            sum = fmaf(weight[column * weightStride + i], dOut[(row + (taps - 1) - i) * dOutStride + column], sum);
        }
        dx[row * dxStride + column] = sum;
    }
}

// dWeight[c, i] += sum over rows of dOut[row, c] x[row - (taps - 1) + i, c]: a block per column and tap.
KERNEL(THREADS) convolution_weight_gradient(const float* x, i64 xStride, int taps, int length, const float* dOut,
                                            i64 dOutStride, i64 rows, float* dWeight, i64 dWeightStride) {
    SHARED(float, scratch, THREADS);
    i64 column = blockIdx.x;
    int tap = blockIdx.y;
    int back = taps - 1 - tap;
    float sum = 0;
    for (i64 row = threadIdx.x; row < rows; row += THREADS) {
        if (row % length >= back) {
            sum = fmaf(dOut[row * dOutStride + column], x[(row - back) * xStride + column], sum);
        }
    }
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) {
        dWeight[column * dWeightStride + tap] += sum;
    }
}

// log(1 + e^x)
DEVICE float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

// out = -e^aLog softplus(a + dtBias)
KERNEL(256) delta_decay(const float* a, i64 aStride, const float* aLog, const float* dtBias, float* out, i64 outStride,
                        i64 columns) {
    FOR_CHUNK(row, column, columns) {
        out[row * outStride + column] = -expf(aLog[column]) * softplus(a[row * aStride + column] + dtBias[column]);
    }
}

// da, and product = dOut times the output, whose sum over rows is aLog's gradient.
KERNEL(256) delta_decay_gradient(const float* a, i64 aStride, const float* aLog, const float* dtBias, const float* dOut,
                                 i64 dOutStride, float* da, i64 daStride, float* product, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float x = a[row * aStride + column] + dtBias[column];
        float d = -expf(aLog[column]) * dOut[row * dOutStride + column];
        da[row * daStride + column] = d / (1 + expf(-x));
        product[row * columns + column] = d * softplus(x);
    }
}
