// GradientOps.addSquares: squares[r] += factor sum of x[r]^2, a block per row.
#include "reduce.h"

KERNEL(THREADS) add_squares(float factor, const float* x, i64 xStride, float* squares, i64 columns) {
    SHARED(float, scratch, THREADS);
    const float* row = x + blockIdx.x * xStride;
    float sum = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        sum = fmaf(row[c], row[c], sum);
    }
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) {
        squares[blockIdx.x] = fmaf(factor, sum, squares[blockIdx.x]);
    }
}
