// Shared by attention and its gradient: products of tiles of 64 rows, one block of 256 threads per tile. A thread holds 4 x 4
// of the 64 x 64 products of two tiles' rows (its own rows 4 ty .., the others 4 tx ..), and 4 rows x WIDTH / 16 columns of the
// sums over a tile.
#ifndef OPTGPTQ_ATTENTION_TILES_H
#define OPTGPTQ_ATTENTION_TILES_H
#include "attention_shape.h"

#define TILE 64
// Columns of a head in shared memory at a time.
#define SLICE 32
#define ATTENTION_THREADS 256
// Padded rows of 64, aligned for reads of four.
#define PITCH 68

// One head of one sequence: row r begins at at + r * stride.
struct Head {
    const float* at;
    i64 stride;
    int columns;

    static __device__ __forceinline__ Head of(const float* data, i64 stride, i64 sequence, int head, int columns) {
        return Head{data + sequence * stride + (i64)head * columns, stride, columns};
    }
};

// Rows from .. from + 64 of a head, columns d0 .. d0 + 32, to slice[d][row]; zero outside.
template <class Slice> DEVICE void load_slice(Head head, int from, int d0, const Shape& shape, Slice slice) {
    for (int i = threadIdx.x; i < TILE * SLICE; i += ATTENTION_THREADS) {
        int d = i % SLICE;
        int row = i / SLICE;
        bool inside = from + row < shape.length && d0 + d < head.columns;
        slice[d * PITCH + row] = inside ? head.at[(from + row) * head.stride + d0 + d] : 0.0f;
    }
}

// product[r][c] = own row ownFrom + 4 ty + r times the other row otherFrom + 4 tx + c, of equally many columns. Slices hold
// SLICE * PITCH.
template <class Slice>
DEVICE void products(Head own, int ownFrom, Head other, int otherFrom, const Shape& shape, Slice ownSlice,
                     Slice otherSlice, float (&product)[4][4]) {
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            product[r][c] = 0;
        }
    }
    for (int d0 = 0; d0 < own.columns; d0 += SLICE) {
        __syncthreads();
        load_slice(own, ownFrom, d0, shape, ownSlice);
        load_slice(other, otherFrom, d0, shape, otherSlice);
        __syncthreads();
        #pragma unroll 4
        for (int d = 0; d < SLICE; d++) {
            Four mine = four(&ownSlice[d * PITCH + ty * 4]);
            Four theirs = four(&otherSlice[d * PITCH + tx * 4]);
            #pragma unroll
            for (int r = 0; r < 4; r++) {
                #pragma unroll
                for (int c = 0; c < 4; c++) {
                    product[r][c] = fmaf(mine.at[r], theirs.at[c], product[r][c]);
                }
            }
        }
    }
}

// Applies the cap of scores to the products.
DEVICE void cap(const Shape& shape, float (&product)[4][4]) {
    if (shape.inCaps != 0) {
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                product[r][c] = shape.capped(product[r][c]);
            }
        }
    }
}

// sum[r][c] += the sum over j of weights[4 ty + r][j] times values' row from + j, column 16 c + tx. Weights are [64][PITCH];
// the slice holds at least TILE * SLICE. The caller waits for all before it writes weights or slice again.
template <int WIDTH, class Weights, class Slice>
DEVICE void accumulate(Weights weightTile, Head values, int from, const Shape& shape, Slice slice,
                       float (&sum)[4][WIDTH / 16]) {
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    #pragma unroll
    for (int part = 0; part < WIDTH / SLICE; part++) {
        if (part * SLICE < values.columns) {
            __syncthreads();
            for (int i = threadIdx.x; i < TILE * SLICE; i += ATTENTION_THREADS) {
                int d = part * SLICE + i % SLICE;
                i64 j = from + i / SLICE;
                slice[i] = j < shape.length && d < values.columns ? values.at[j * values.stride + d] : 0.0f;
            }
            __syncthreads();
            const float* weights = &weightTile[ty * 4 * PITCH];
            const float* column = &slice[tx];
            // Unrolling this would keep the outer loop from being unrolled, and sum out of registers.
            #pragma unroll 1
            for (int j = 0; j < TILE; j += 4) {
                Four weight[4] = {four(weights + j), four(weights + PITCH + j), four(weights + 2 * PITCH + j),
                                  four(weights + 3 * PITCH + j)};
                #pragma unroll
                for (int i = 0; i < 4; i++) {
                    float first = column[(j + i) * SLICE];
                    float second = column[(j + i) * SLICE + 16];
                    #pragma unroll
                    for (int r = 0; r < 4; r++) {
                        sum[r][part * 2] = fmaf(weight[r].at[i], first, sum[r][part * 2]);
                        sum[r][part * 2 + 1] = fmaf(weight[r].at[i], second, sum[r][part * 2 + 1]);
                    }
                }
            }
        }
    }
}

template <int COLUMNS> DEVICE void clear(float (&sum)[4][COLUMNS]) {
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        #pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            sum[r][c] = 0;
        }
    }
}

#endif
