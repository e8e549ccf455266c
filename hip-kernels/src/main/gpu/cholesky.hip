// The steps of MatrixOps.inverseFactor that are not matmuls: a diagonal block's factor v, upper triangular with v v^T = a, and
// its inverse.
#include "elements.h"

#define BLOCK 128
// Threads along an edge of the block; each has every EDGE-th row and column of it, TILES x TILES elements, in registers.
#define EDGE 16
#define TILES (BLOCK / EDGE)
#define CHOLESKY_THREADS (EDGE * EDGE)

// u = 0 below the diagonal.
KERNEL(256) zero_below(float* u, i64 stride, i64 n) {
    FOR_CHUNK(row, column, n) {
        if (column < row) {
            u[row * stride + column] = 0;
        }
    }
}

// One diagonal block a [n, n], n up to 128, by one block of threads: a becomes v^-1 with zeros below, where a = v v^T on and above
// the diagonal. failed[0] becomes 1 when a pivot is not positive and finite.
//
// Columns are finished from the last to the first. Column j of v, divided by its root, leaves the columns before it by a rank-1
// update, and adds to sums[i, k] = sum over l >= j of v[i, l] x[l, k], whose row i is what row i of x = v^-1 needs once i is
// reached: x[i, k] = -sums[i, k] / v[i, i]. So a step has one barrier, and both updates the same factors.
KERNEL(CHOLESKY_THREADS) invert_block(float* a, i64 stride, int n, int* failed) {
    SHARED(float, columns, 2 * BLOCK);
    SHARED(float, rows, 2 * BLOCK);
    int r = threadIdx.x / EDGE;
    int c = threadIdx.x % EDGE;
    float v[TILES][TILES];
    float sums[TILES][TILES];
    #pragma unroll
    for (int p = 0; p < TILES; p++) {
        #pragma unroll
        for (int q = p; q < TILES; q++) {
            i64 i = r + p * EDGE;
            i64 k = per_thread(c) + q * EDGE;
            v[p][q] = (q > p || r <= c) && k < n ? a[i * stride + k] : 0.0f;
            sums[p][q] = 0;
        }
    }
    #pragma unroll
    for (int t = TILES - 1; t >= 0; t--) {
        for (int at = EDGE - 1; at >= 0; at--) {
            int j = t * EDGE + at;
            if (j >= n) {
                continue;
            }
            // In turn, so that no thread overwrites what another one still reads.
            float* column = &columns[(j & 1) * BLOCK];
            float* row = &rows[(j & 1) * BLOCK];
            if (c == at) {
                #pragma unroll
                for (int p = 0; p <= t; p++) {
                    column[r + p * EDGE] = v[p][t];
                }
            }
            if (r == at) {
                #pragma unroll
                for (int q = t; q < TILES; q++) {
                    row[c + q * EDGE] = sums[t][q];
                }
            }
            __syncthreads();
            float pivot = column[j];
            if (threadIdx.x == 0 && (!(pivot > 0) || pivot == infinity())) {
                failed[0] = 1;
            }
            float inverse = 1 / sqrtf(pivot);
            float left[TILES];
            float right[TILES];
            float x[TILES];
            // Only in the tiles of column and row j are there elements on its other side.
            #pragma unroll
            for (int p = 0; p <= t; p++) {
                left[p] = p < t || r < at ? column[r + p * EDGE] * inverse : 0.0f;
                right[p] = p < t || c < at ? column[c + p * EDGE] * inverse : 0.0f;
            }
            x[t] = c > at ? -inverse * row[c + t * EDGE] : c == at ? inverse : 0.0f;
            #pragma unroll
            for (int q = t + 1; q < TILES; q++) {
                x[q] = -inverse * row[c + q * EDGE];
            }
            #pragma unroll
            for (int p = 0; p <= t; p++) {
                #pragma unroll
                for (int q = p; q <= t; q++) {
                    v[p][q] = fmaf(-left[p], right[q], v[p][q]);
                }
                #pragma unroll
                for (int q = t; q < TILES; q++) {
                    sums[p][q] = fmaf(left[p], x[q], sums[p][q]);
                }
            }
            if (r == at) {
                #pragma unroll
                for (int q = t; q < TILES; q++) {
                    sums[t][q] = x[q];
                }
            }
        }
    }
    #pragma unroll
    for (int p = 0; p < TILES; p++) {
        #pragma unroll
        for (int q = 0; q < TILES; q++) {
            i64 i = r + p * EDGE;
            i64 k = per_thread(c) + q * EDGE;
            if (i < n && k < n) {
                a[i * stride + k] = q > p || (q == p && r <= c) ? sums[p][q] : 0.0f;
            }
        }
    }
}
