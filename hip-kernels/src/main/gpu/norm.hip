// NeuralOps.rmsNorm and layerNorm, for whole rows, a block each, and for groups of neighbouring columns, 32 threads each.
#include "elements.h"
#include "norm_part.h"

// out = x / sqrt(mean(x^2) + eps) * weight, from element at on, as the float dtype type; in and out may be the same.
template <int LANES, class Scratch>
DEVICE void rms(const float* in, const float* weight, float eps, void* out, int type, i64 at, i64 columns,
                Scratch scratch) {
    int lane = threadIdx.x % LANES;
    float squares = 0;
    for (i64 c = lane; c < columns; c += LANES) {
        squares = fmaf(in[c], in[c], squares);
    }
    float scale = 1 / sqrtf(lanes_reduce<LANES, Sum>(squares, scratch) / columns + eps);
    for (i64 c = lane; c < columns; c += LANES) {
        store_float(out, at + c, type, in[c] * scale * weight[c]);
    }
}

// out = (x - mean) / sqrt(var + eps) * weight + bias, biased variance; bias may be null, in and out the same.
template <int LANES, class Scratch>
DEVICE void layer(const float* in, const float* weight, const float* bias, float eps, void* out, int type, i64 at,
                  i64 columns, Scratch scratch) {
    int lane = threadIdx.x % LANES;
    float sum = 0;
    for (i64 c = lane; c < columns; c += LANES) {
        sum += in[c];
    }
    float mean = lanes_reduce<LANES, Sum>(sum, scratch) / columns;
    float squares = 0;
    for (i64 c = lane; c < columns; c += LANES) {
        squares = fmaf(in[c] - mean, in[c] - mean, squares);
    }
    float scale = 1 / sqrtf(lanes_reduce<LANES, Sum>(squares, scratch) / columns + eps);
    for (i64 c = lane; c < columns; c += LANES) {
        store_float(out, at + c, type, fmaf((in[c] - mean) * scale, weight[c], bias == 0 ? 0.0f : bias[c]));
    }
}

KERNEL(THREADS) rms_norm(const float* x, i64 xStride, const float* weight, float eps, void* out, int type, i64 outStride,
                         i64 columns) {
    SHARED(float, scratch, THREADS);
    rms<THREADS>(x + blockIdx.x * xStride, weight, eps, out, type, blockIdx.x * outStride, columns, scratch);
}

KERNEL(THREADS) layer_norm(const float* x, i64 xStride, const float* weight, const float* bias, float eps, void* out,
                           int type, i64 outStride, i64 columns) {
    SHARED(float, scratch, THREADS);
    layer<THREADS>(x + blockIdx.x * xStride, weight, bias, eps, out, type, blockIdx.x * outStride, columns, scratch);
}

// own: 1 where each group has its own width columns of weight and bias, 0 where they share them.
KERNEL(THREADS) rms_norm_groups(const float* x, i64 xStride, const float* weight, float eps, float* out, i64 outStride,
                                i64 rows, i64 groups, i64 width, int own) {
    SHARED(float, scratch, THREADS);
    Part part = Part::of<GROUP_THREADS>(rows, groups, width);
    rms<GROUP_THREADS>(x + part.row * xStride + part.column, weight + own * part.column, eps,
                       out, F32, part.row * outStride + part.column, part.columns, scratch);
}

KERNEL(THREADS) layer_norm_groups(const float* x, i64 xStride, const float* weight, const float* bias, float eps,
                                  float* out, i64 outStride, i64 rows, i64 groups, i64 width, int own) {
    SHARED(float, scratch, THREADS);
    Part part = Part::of<GROUP_THREADS>(rows, groups, width);
    layer<GROUP_THREADS>(x + part.row * xStride + part.column, weight + own * part.column,
                         bias == 0 ? bias : bias + own * part.column, eps, out, F32,
                         part.row * outStride + part.column, part.columns, scratch);
}
