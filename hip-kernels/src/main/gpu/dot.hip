// MatrixOps.dot: the sum of a * b in float64, in two steps whose order depends only on the shape.
#include "reduce.h"

#define CHUNK 1024

// partial[block] = the sum over the chunks block, block + blocks, ... of the rows.
KERNEL(THREADS) dot_chunks(const float* a, i64 aStride, const float* b, i64 bStride, i64 rows, i64 columns,
                           double* partial) {
    SHARED(double, scratch, THREADS);
    i64 across = (columns + CHUNK - 1) / CHUNK;
    double sum = 0;
    for (i64 chunk = blockIdx.x; chunk < rows * across; chunk += gridDim.x) {
        i64 row = chunk / across;
        i64 from = chunk % across * CHUNK;
        i64 to = least(from + CHUNK, columns);
        for (i64 c = from + threadIdx.x; c < to; c += THREADS) {
            sum += (double)a[row * aStride + c] * b[row * bStride + c];
        }
    }
    sum = block_reduce<Sum>(sum, scratch);
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
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) {
        result[0] = sum;
    }
}
