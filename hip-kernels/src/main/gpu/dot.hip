// MatrixOps.dot: the sum of a * b in float64, in two steps whose order depends on the shape alone.
#include "reduce.h"

// partial[block] = the sum over the rows block, block + blocks, ...
KERNEL(THREADS) dot_rows(const float* a, i64 aStride, const float* b, i64 bStride, i64 rows, i64 columns,
                         double* partial) {
    SHARED(double, scratch, THREADS);
    double sum = 0;
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        for (i64 c = threadIdx.x; c < columns; c += THREADS) {
            sum += (double)a[row * aStride + c] * b[row * bStride + c];
        }
    }
    sum = block_reduce<Sum>(sum, &scratch[0]);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// result[0] = the sum of count partial sums; one block.
KERNEL(THREADS) dot_total(const double* partial, int count, double* result) {
    SHARED(double, scratch, THREADS);
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        sum += partial[i];
    }
    sum = block_reduce<Sum>(sum, &scratch[0]);
    if (threadIdx.x == 0) {
        result[0] = sum;
    }
}
