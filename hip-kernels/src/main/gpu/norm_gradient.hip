// GradientOps.rmsNormGradient and layerNormGradient for x: a block per row. What the weights' gradient needs of a row, its
// centre and 1 / deviation, is left for column_sums.hip.
#include "reduce.h"

// With n = (x - centre) / deviation and g = dOut weight: dx += (g - n mean(g n)) / deviation, and where rows are centred,
// (g - mean(g) - n mean(g n)) / deviation.
template <bool CENTRED>
DEVICE void norm_gradient(const float* x, const float* weight, float eps, const float* dOut, float* dx, float* centre,
                          float* inverse, i64 columns) {
    SHARED(float, scratch, THREADS);
    float mean = 0;
    if (CENTRED) {
        float sum = 0;
        for (i64 c = threadIdx.x; c < columns; c += THREADS) {
            sum += x[c];
        }
        mean = block_reduce<Sum>(sum, scratch) / columns;
    }
    float squares = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        squares = fmaf(x[c] - mean, x[c] - mean, squares);
    }
    float scale = 1 / sqrtf(block_reduce<Sum>(squares, scratch) / columns + eps);
    float sumG = 0;
    float sumGn = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        float g = dOut[c] * weight[c];
        sumG += g;
        sumGn = fmaf(g, (x[c] - mean) * scale, sumGn);
    }
    float meanG = CENTRED ? block_reduce<Sum>(sumG, scratch) / columns : 0.0f;
    float meanGn = block_reduce<Sum>(sumGn, scratch) / columns;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        float n = (x[c] - mean) * scale;
        dx[c] = fmaf(fmaf(-n, meanGn, fmaf(dOut[c], weight[c], -meanG)), scale, dx[c]);
    }
    if (threadIdx.x == 0) {
        *centre = mean;
        *inverse = scale;
    }
}

// centres and inverses [rows], written.
#define ARGUMENTS const float *x, i64 xStride, const float *weight, float eps, const float *dOut, i64 dOutStride, \
                  float *dx, i64 dxStride, float *centres, float *inverses, i64 columns

KERNEL(THREADS) rms_norm_gradient(ARGUMENTS) {
    i64 row = blockIdx.x;
    norm_gradient<false>(x + row * xStride, weight, eps, dOut + row * dOutStride, dx + row * dxStride, centres + row,
                         inverses + row, columns);
}

KERNEL(THREADS) layer_norm_gradient(ARGUMENTS) {
    i64 row = blockIdx.x;
    norm_gradient<true>(x + row * xStride, weight, eps, dOut + row * dOutStride, dx + row * dxStride, centres + row,
                        inverses + row, columns);
}
