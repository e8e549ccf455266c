// GradientOps.embedGradient: dTable[ids[r]] += dOut[r], rows in order. A block has a row and a chunk of columns, and works only if
// its row is the first of its id: then it adds all rows of that id, so no two blocks write the same place.
#include "elements.h"

#define EMBED_THREADS 256
// Columns of a block, as elements.h covers them.
#define EACH (CHUNK / EMBED_THREADS)

// An id outside the vocabulary adds to nothing. The grid is ceil(columns / 1024) x rows, rows in x.
KERNEL(EMBED_THREADS) embed_gradient(const int* ids, i64 rows, const float* dOut, i64 dOutStride, float* dTable,
                                     i64 tableStride, i64 vocabulary, i64 columns) {
    SHARED(int, tile, EMBED_THREADS);
    SHARED(int, earlier, 1);
    i64 row = blockIdx.x;
    i64 id = ids[row];
    if (id < 0 || id >= vocabulary) {
        return;
    }
    if (threadIdx.x == 0) {
        earlier[0] = 0;
    }
    __syncthreads();
    for (i64 r = threadIdx.x; r < row; r += EMBED_THREADS) {
        if (ids[r] == id) {
            earlier[0] = 1;  // all writers write the same
        }
    }
    __syncthreads();
    if (earlier[0] != 0) {
        return;
    }
    i64 from = (i64)blockIdx.y * CHUNK + threadIdx.x;
    float* target = dTable + id * tableStride;
    float sum[EACH];
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        i64 c = from + e * EMBED_THREADS;
        sum[e] = c < columns ? target[c] : 0.0f;
    }
    for (i64 first = row; first < rows; first += EMBED_THREADS) {
        __syncthreads();
        tile[threadIdx.x] = first + threadIdx.x < rows ? ids[first + threadIdx.x] : -1;
        __syncthreads();
        for (int r = 0; r < EMBED_THREADS; r++) {
            if (tile[r] == id) {
                #pragma unroll
                for (int e = 0; e < EACH; e++) {
                    i64 c = from + e * EMBED_THREADS;
                    sum[e] += c < columns ? dOut[(first + r) * dOutStride + c] : 0.0f;
                }
            }
        }
    }
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        i64 c = from + e * EMBED_THREADS;
        if (c < columns) {
            target[c] = sum[e];
        }
    }
}
