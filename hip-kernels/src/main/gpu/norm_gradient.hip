// GradientOps.rmsNormGradient and layerNormGradient for x, for whole rows, a block each, and for groups of neighbouring columns, 32
// threads each. Stores centre and 1 / deviation, which column_sums.hip needs for the weights' gradient.
#include "norm_part.h"

// With n = (x - centre) / deviation and g = dOut weight: dx += (g - n mean(g n)) / deviation, and where rows are centred,
// (g - mean(g) - n mean(g n)) / deviation.
template <int LANES, bool CENTRED, class Scratch>
DEVICE void norm_gradient(const float* x, const float* weight, float eps, const float* dOut, float* dx, float* centre,
                          float* inverse, i64 columns, Scratch scratch) {
    int lane = threadIdx.x % LANES;
    float mean = 0;
    if (CENTRED) {
        float sum = 0;
        for (i64 c = lane; c < columns; c += LANES) {
            sum += x[c];
        }
        mean = lanes_reduce<LANES, Sum>(sum, scratch) / columns;
    }
    float squares = 0;
    for (i64 c = lane; c < columns; c += LANES) {
        squares = fmaf(x[c] - mean, x[c] - mean, squares);
    }
    float scale = 1 / sqrtf(lanes_reduce<LANES, Sum>(squares, scratch) / columns + eps);
    float sumG = 0;
    float sumGn = 0;
    for (i64 c = lane; c < columns; c += LANES) {
        float g = dOut[c] * weight[c];
        sumG += g;
        sumGn = fmaf(g, (x[c] - mean) * scale, sumGn);
    }
    float meanG = CENTRED ? lanes_reduce<LANES, Sum>(sumG, scratch) / columns : 0.0f;
    float meanGn = lanes_reduce<LANES, Sum>(sumGn, scratch) / columns;
    for (i64 c = lane; c < columns; c += LANES) {
        float n = (x[c] - mean) * scale;
        dx[c] = fmaf(fmaf(-n, meanGn, fmaf(dOut[c], weight[c], -meanG)), scale, dx[c]);
    }
    if (lane == 0 && columns > 0) {
        *centre = mean;
        *inverse = scale;
    }
}

// Of whole rows: centres and inverses [rows], written.
#define ARGUMENTS const float *x, i64 xStride, const float *weight, float eps, const float *dOut, i64 dOutStride, \
                  float *dx, i64 dxStride, float *centres, float *inverses, i64 columns

template <bool CENTRED> DEVICE void of_row(ARGUMENTS) {
    SHARED(float, scratch, THREADS);
    i64 row = blockIdx.x;
    norm_gradient<THREADS, CENTRED>(x + row * xStride, weight, eps, dOut + row * dOutStride, dx + row * dxStride,
                                    centres + row, inverses + row, columns, scratch);
}

KERNEL(THREADS) rms_norm_gradient(ARGUMENTS) {
    of_row<false>(x, xStride, weight, eps, dOut, dOutStride, dx, dxStride, centres, inverses, columns);
}

KERNEL(THREADS) layer_norm_gradient(ARGUMENTS) {
    of_row<true>(x, xStride, weight, eps, dOut, dOutStride, dx, dxStride, centres, inverses, columns);
}

// Of groups: centres and inverses [rows, groups], written. own: 1 where each group has its own width columns of weight, 0 where
// they share them.
#define OF_GROUPS const float *x, i64 xStride, const float *weight, float eps, const float *dOut, i64 dOutStride, \
                  float *dx, i64 dxStride, float *centres, float *inverses, i64 rows, i64 groups, i64 width, int own

template <bool CENTRED> DEVICE void of_group(OF_GROUPS) {
    SHARED(float, scratch, THREADS);
    Part part = Part::of<GROUP_THREADS>(rows, groups, width);
    i64 index = part.row * groups + part.column / width;
    norm_gradient<GROUP_THREADS, CENTRED>(x + part.row * xStride + part.column, weight + own * part.column, eps,
                                          dOut + part.row * dOutStride + part.column,
                                          dx + part.row * dxStride + part.column, centres + index, inverses + index,
                                          part.columns, scratch);
}

KERNEL(THREADS) rms_norm_groups_gradient(OF_GROUPS) {
    of_group<false>(x, xStride, weight, eps, dOut, dOutStride, dx, dxStride, centres, inverses, rows, groups, width, own);
}

KERNEL(THREADS) layer_norm_groups_gradient(OF_GROUPS) {
    of_group<true>(x, xStride, weight, eps, dOut, dOutStride, dx, dxStride, centres, inverses, rows, groups, width, own);
}
