// Up to three packed linears of the same inputs in one launch: their arguments, and which one a block computes.
#ifndef OPTGPTQ_PACKED_LINEARS_H
#define OPTGPTQ_PACKED_LINEARS_H
#include "packed_pairs.h"

// The arguments of linear n; of an absent one outputs is 0.
#define LINEAR(n) int zeroOffset##n, const u32 *qweight##n, i64 qweightStride##n, const u32 *qzeros##n, i64 qzerosStride##n,     \
                  const u16 *scales##n, i64 scalesStride##n, i64 outputs##n, const float *bias##n, float *y##n, i64 yStride##n
#define NAMES(n) zeroOffset##n, qweight##n, qweightStride##n, qzeros##n, qzerosStride##n, scales##n, scalesStride##n, outputs##n, \
                 bias##n, y##n, yStride##n

// An argument of the linear that a block belongs to.
#define OF(which, name) ((which) == 0 ? name##0 : (which) == 1 ? name##1 : name##2)

#if MATRIX_UNITS && ROWS_LAYOUT

// What a wave has of two tiles of 16 outputs, and of tiles of 8 rows.
#define OUTPUTS 32
#define OUTPUT_TILES 2
#define TILE_ROWS 8
#define TILE_PART 4

template <int COUNT, int TILES> DEVICE void clear(float (&sums)[COUNT][TILES][TILE_PART]) {
    #pragma unroll
    for (int t = 0; t < COUNT; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                sums[t][n][c] = 0;
            }
        }
    }
}

#endif

#endif
