// Float64Ops: its elementwise part, and gemm where there is no matrix library.
#include "elements.h"
#include "reduce.h"

#define TILE 64
#define SLICE 16
#define PITCH (TILE + 1)
// Elements of a slice that a thread loads.
#define LOADS (TILE * SLICE / THREADS)

// y = alpha x + beta y; x is float32 or float64.
KERNEL(THREADS) combine(double alpha, const void* x, int type, i64 xStride, double beta, double* y, i64 yStride,
                        i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 from = row * xStride + column;
        double scaled = alpha * (type == F64 ? ((const double*)x)[from] : (double)((const float*)x)[from]);
        double* at = y + row * yStride + column;
        *at = beta == 0 ? scaled : fma(beta, *at, scaled);
    }
}

// partial[block] = the sum of a b over the chunks block, block + blocks, ... of the rows; dot_total of dot.hip adds them up.
KERNEL(THREADS) dot_chunks(const double* a, i64 aStride, const double* b, i64 bStride, i64 rows, i64 columns,
                           double* partial) {
    SHARED(double, scratch, THREADS);
    i64 across = (columns + CHUNK - 1) / CHUNK;
    double sum = 0;
    for (i64 chunk = blockIdx.x; chunk < rows * across; chunk += gridDim.x) {
        i64 row = chunk / across;
        i64 from = chunk % across * CHUNK;
        i64 to = least(from + CHUNK, columns);
        for (i64 c = from + threadIdx.x; c < to; c += THREADS) {
            sum = fma(a[row * aStride + c], b[row * bStride + c], sum);
        }
    }
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// A slice of an operand: element (row, k) of the tile lies at row * rowStep + k * step, one of the two being 1.
struct Operand {
    const double* data;
    i64 rowStep;
    i64 step;
    int rows;
    int top;

    // Neighbouring threads load neighbouring elements, whichever way the operand lies.
    template <class Slice> __device__ __forceinline__ void load(int inner, int innerSize, Slice slice) const {
        #pragma unroll
        for (int i = 0; i < LOADS; i++) {
            int index = threadIdx.x + i * THREADS;
            int row = step == 1 ? index / SLICE : index % TILE;
            int k = step == 1 ? index % SLICE : index / TILE;
            bool inside = top + row < rows && inner + k < innerSize;
            slice[k * PITCH + row] = inside ? data[(i64)(top + row) * rowStep + (i64)(inner + k) * step] : 0.0;
        }
    }
};

// c = alpha op(a) op(b) + beta c, op(a) [m, k], op(b) [k, n]: a block computes a tile of 64 x 64, a thread 4 x 4 of it, 16 apart.
// The grid is ceil(n / 64) x ceil(m / 64).
KERNEL(THREADS) gemm(int m, int n, int k, double alpha, const double* a, i64 aRowStep, i64 aStep, const double* b, i64 bRowStep,
                     i64 bStep, double beta, double* c, i64 cStride) {
    SHARED(double, left, SLICE * PITCH);
    SHARED(double, right, SLICE * PITCH);
    Operand rows = {a, aRowStep, aStep, m, (int)blockIdx.y * TILE};
    Operand columns = {b, bRowStep, bStep, n, (int)blockIdx.x * TILE};
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    double sum[4][4];
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        #pragma unroll
        for (int j = 0; j < 4; j++) {
            sum[i][j] = 0;
        }
    }
    for (int inner = 0; inner < k; inner += SLICE) {
        __syncthreads();
        rows.load(inner, k, left);
        columns.load(inner, k, right);
        __syncthreads();
        for (int s = 0; s < SLICE; s++) {
            #pragma unroll
            for (int i = 0; i < 4; i++) {
                #pragma unroll
                for (int j = 0; j < 4; j++) {
                    sum[i][j] = fma(left[s * PITCH + ty + 16 * i], right[s * PITCH + tx + 16 * j], sum[i][j]);
                }
            }
        }
    }
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        int row = rows.top + ty + 16 * i;
        #pragma unroll
        for (int j = 0; j < 4; j++) {
            int column = columns.top + tx + 16 * j;
            if (row < m && column < n) {
                double* at = c + row * cStride + column;
                *at = beta == 0 ? alpha * sum[i][j] : fma(beta, *at, alpha * sum[i][j]);
            }
        }
    }
}
