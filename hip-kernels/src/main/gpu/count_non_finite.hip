// NeuralOps.countNonFinite: count[0] += the elements that are NaN or infinite.
#include "elements.h"

KERNEL(256) count_non_finite(const void* x, int dtype, i64 stride, i64 columns, u64* count) {
    SHARED(u32, found, 1);
    if (threadIdx.x == 0) {
        found[0] = 0;
    }
    __syncthreads();
    u32 mine = 0;
    FOR_CHUNK(row, column, columns) {
        i64 at = row * stride + column;
        if (dtype == F64) {
            double value = ((const double*)x)[at];
            mine += value - value != 0;
        } else {
            mine += (__float_as_uint(load_float(x, at, dtype)) & 0x7f800000u) == 0x7f800000u;
        }
    }
    // Integers: the order of the atomics does not show.
    if (mine != 0) {
        atomicAdd(&found[0], mine);
    }
    __syncthreads();
    if (threadIdx.x == 0 && found[0] != 0) {
        atomicAdd(count, (u64)found[0]);
    }
}
