// MatrixOps.peak: peak[0] = max(peak[0], |x|), infinity for NaN. Magnitudes of floats have the order of their bits.
#include "elements.h"

DEVICE void largest_of_block(u32 mine, u32* peak) {
    SHARED(u32, largest, 1);
    if (threadIdx.x == 0) {
        largest[0] = 0;
    }
    __syncthreads();
    if (mine != 0) {
        atomicMax(&largest[0], mine > 0x7f800000u ? 0x7f800000u : mine);
    }
    __syncthreads();
    if (threadIdx.x == 0 && largest[0] != 0) {
        atomicMax(peak, largest[0]);
    }
}

KERNEL(256) peak(const void* x, int dtype, i64 stride, i64 columns, u32* peak) {
    u32 mine = 0;
    FOR_CHUNK(row, column, columns) {
        u32 size = __float_as_uint(load_float(x, row * stride + column, dtype)) & 0x7fffffffu;
        mine = size > mine ? size : mine;
    }
    largest_of_block(mine, peak);
}

struct alignas(16) Eight {
    u32 pair[4];
};

// The same of fp16/bf16, eight neighbours at a time, whose magnitudes have the order of their bits, too. Stride and columns are in
// eights.
KERNEL(256) peak_eights(const Eight* x, int dtype, i64 stride, i64 columns, u32* peak) {
    u32 mine = 0;
    FOR_CHUNK(row, column, columns) {
        Eight eight = x[row * stride + column];
        #pragma unroll
        for (int p = 0; p < 4; p++) {
            u32 low = eight.pair[p] & 0x7fffu;
            u32 high = eight.pair[p] >> 16 & 0x7fffu;
            mine = low > mine ? low : mine;
            mine = high > mine ? high : mine;
        }
    }
    largest_of_block(__float_as_uint(dtype == F16 ? from_f16((u16)mine) : from_bf16((u16)mine)) & 0x7fffffffu, peak);
}
