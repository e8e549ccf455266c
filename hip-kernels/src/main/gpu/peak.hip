// MatrixOps.peak: peak[0] = max(peak[0], |x|), infinity for NaN. Magnitudes of floats have the order of their bits.
#include "elements.h"

KERNEL(256) peak(const void* x, int dtype, i64 stride, i64 columns, u32* peak) {
    SHARED(u32, largest, 1);
    if (threadIdx.x == 0) {
        largest[0] = 0;
    }
    __syncthreads();
    u32 mine = 0;
    FOR_CHUNK(row, column, columns) {
        u32 size = __float_as_uint(load_float(x, row * stride + column, dtype)) & 0x7fffffffu;
        mine = size > mine ? size : mine;
    }
    if (mine != 0) {
        atomicMax(&largest[0], mine > 0x7f800000u ? 0x7f800000u : mine);
    }
    __syncthreads();
    if (threadIdx.x == 0 && largest[0] != 0) {
        atomicMax(peak, largest[0]);
    }
}
