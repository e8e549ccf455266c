// MatrixOps.gemm, linear and accumulateGram where there is no matrix library (or it gives wrong fp16/bf16 results): c = alpha op(a)
// op(b) + bias + beta c, op(a) [m, k], op(b) [k, n], c [m, n] in float32, all sums in float32. A block of 256 threads computes a
// tile of 128 x 128, a thread 8 x 8 of it in registers, from slices of 16 of the inner dimension in shared memory; the next slice
// is loaded meanwhile.
#include "portability.h"

#define TILE 128
#define SLICE 16
#define GEMM_THREADS 256
// Elements of a slice that a thread loads.
#define LOADS (TILE * SLICE / GEMM_THREADS)
// Distance of two slices' rows, padded so that storing a transposed slice does not meet in one bank.
#define PITCH (TILE + 4)

struct F16Element {
    u16 bits;
};
struct Bf16Element {
    u16 bits;
};
DEVICE float widened(float value) { return value; }
DEVICE float widened(F16Element value) { return from_f16(value.bits); }
DEVICE float widened(Bf16Element value) { return from_bf16(value.bits); }

// Where an operand's slice comes from: rows of the tile are rows of op(a) or columns of op(b).
template <class T> struct Operand {
    const T* data;
    i64 stride;
    int rows;  // of op(a), or columns of op(b)
    int top;   // first of this tile

    // ALONG: the inner dimension is the contiguous one.
    template <bool ALONG> __device__ __forceinline__ void load(int inner, int innerSize, float* into) const {
        #pragma unroll
        for (int i = 0; i < LOADS; i++) {
            int row, k;
            place<ALONG>(i, &row, &k);
            i64 r = top + row;
            i64 kk = inner + k;
            bool inside = r < rows && kk < innerSize;
            into[i] = inside ? widened(data[ALONG ? r * stride + kk : kk * stride + r]) : 0.0f;
        }
    }

    template <bool ALONG> static __device__ __forceinline__ void place(int i, int* row, int* k) {
        int index = threadIdx.x + i * GEMM_THREADS;
        *row = ALONG ? index / SLICE : index % TILE;
        *k = ALONG ? index % SLICE : index / TILE;
    }

    template <bool ALONG, class Tile> static __device__ __forceinline__ void store(const float* from, Tile tile) {
        #pragma unroll
        for (int i = 0; i < LOADS; i++) {
            int row, k;
            place<ALONG>(i, &row, &k);
            tile[k * PITCH + row] = from[i];
        }
    }
};

// A thread's 8 rows are 4 neighbours in each half of the tile, and so are its columns: neighbouring threads then read
// neighbouring words.
DEVICE int part(int thread, int i) { return (i / 4) * (TILE / 2) + thread * 4 + i % 4; }

template <bool TRANSPOSE_A, bool TRANSPOSE_B, class T>
DEVICE void gemm(int m, int n, int k, float alpha, const T* a, i64 aStride, const T* b, i64 bStride, const float* bias,
                 float beta, float* c, i64 cStride, int upper) {
    SHARED(float, left, SLICE * PITCH);
    SHARED(float, right, SLICE * PITCH);
    if (upper && blockIdx.y > blockIdx.x) {
        return;
    }
    Operand<T> rows = {a, aStride, m, (int)blockIdx.y * TILE};
    Operand<T> columns = {b, bStride, n, (int)blockIdx.x * TILE};
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    float sum[8][8];
    #pragma unroll
    for (int i = 0; i < 8; i++) {
        #pragma unroll
        for (int j = 0; j < 8; j++) {
            sum[i][j] = 0;
        }
    }
    float nextLeft[LOADS], nextRight[LOADS];
    rows.template load<!TRANSPOSE_A>(0, k, nextLeft);
    columns.template load<TRANSPOSE_B>(0, k, nextRight);
    for (int inner = 0; inner < k; inner += SLICE) {
        __syncthreads();
        Operand<T>::template store<!TRANSPOSE_A>(nextLeft, left);
        Operand<T>::template store<TRANSPOSE_B>(nextRight, right);
        __syncthreads();
        if (inner + SLICE < k) {
            rows.template load<!TRANSPOSE_A>(inner + SLICE, k, nextLeft);
            columns.template load<TRANSPOSE_B>(inner + SLICE, k, nextRight);
        }
        #pragma unroll
        for (int s = 0; s < SLICE; s++) {
            const float* l = &left[s * PITCH + ty * 4];
            const float* r = &right[s * PITCH + tx * 4];
            Four x[2] = {four(l), four(l + TILE / 2)};
            Four y[2] = {four(r), four(r + TILE / 2)};
            #pragma unroll
            for (int i = 0; i < 8; i++) {
                #pragma unroll
                for (int j = 0; j < 8; j++) {
                    sum[i][j] = fmaf(x[i / 4].at[i % 4], y[j / 4].at[j % 4], sum[i][j]);
                }
            }
        }
    }
    #pragma unroll
    for (int i = 0; i < 8; i++) {
        int row = rows.top + part(ty, i);
        #pragma unroll
        for (int j = 0; j < 8; j++) {
            int column = columns.top + part(tx, j);
            if (row < m && column < n && (!upper || column >= row)) {
                float* at = c + row * cStride + column;
                float value = alpha * sum[i][j] + (bias == 0 ? 0.0f : bias[column]);
                *at = beta == 0 ? value : fmaf(beta, *at, value);
            }
        }
    }
}

// The grid is ceil(n / 128) x ceil(m / 128). bias [n] may be null. upper: only the elements on and above the diagonal.
#define ARGUMENTS int m, int n, int k, float alpha, const float *a, i64 aStride, const float *b, i64 bStride, \
                  const float *bias, float beta, float *c, i64 cStride, int upper

KERNEL(GEMM_THREADS) gemm_nn(ARGUMENTS) {
    gemm<false, false>(m, n, k, alpha, a, aStride, b, bStride, bias, beta, c, cStride, upper);
}

KERNEL(GEMM_THREADS) gemm_nt(ARGUMENTS) {
    gemm<false, true>(m, n, k, alpha, a, aStride, b, bStride, bias, beta, c, cStride, upper);
}

KERNEL(GEMM_THREADS) gemm_tn(ARGUMENTS) {
    gemm<true, false>(m, n, k, alpha, a, aStride, b, bStride, bias, beta, c, cStride, upper);
}

KERNEL(GEMM_THREADS) gemm_tt(ARGUMENTS) {
    gemm<true, true>(m, n, k, alpha, a, aStride, b, bStride, bias, beta, c, cStride, upper);
}

// c = a b^T + bias + beta c in fp16/bf16, as in a linear layer, sums in float32.
KERNEL(GEMM_THREADS) linear_f16(int m, int n, int k, const F16Element* a, i64 aStride, const F16Element* b, i64 bStride,
                                const float* bias, float beta, float* c, i64 cStride) {
    gemm<false, true>(m, n, k, 1, a, aStride, b, bStride, bias, beta, c, cStride, 0);
}

KERNEL(GEMM_THREADS) linear_bf16(int m, int n, int k, const Bf16Element* a, i64 aStride, const Bf16Element* b,
                                 i64 bStride, const float* bias, float beta, float* c, i64 cStride) {
    gemm<false, true>(m, n, k, 1, a, aStride, b, bStride, bias, beta, c, cStride, 0);
}

// h += alpha x^T x on and above the diagonal: x [rows, n] in float16 or bfloat16, sums in float32.
KERNEL(GEMM_THREADS) gram_f16(int rows, int n, float alpha, const F16Element* x, i64 xStride, float* h, i64 hStride) {
    gemm<true, false>(n, n, rows, alpha, x, xStride, x, xStride, 0, 1, h, hStride, 1);
}

KERNEL(GEMM_THREADS) gram_bf16(int rows, int n, float alpha, const Bf16Element* x, i64 xStride, float* h, i64 hStride) {
    gemm<true, false>(n, n, rows, alpha, x, xStride, x, xStride, 0, 1, h, hStride, 1);
}
