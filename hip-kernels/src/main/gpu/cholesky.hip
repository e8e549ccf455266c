// The steps of MatrixOps.inverseFactor that are not matmuls: h = v v^T with v upper triangular, from the last
// columns to the first, and the inverses of v's diagonal blocks.
#include "elements.h"

#define BLOCK 64
#define PITCH (BLOCK + 1)
#define CHOLESKY_THREADS 256

// u = h on and above the diagonal, 0 below.
KERNEL(256) copy_upper(const float* h, i64 hStride, float* u, i64 uStride, i64 n) {
    FOR_CHUNK(row, column, n) {
        u[row * uStride + column] = column >= row ? h[row * hStride + column] : 0.0f;
    }
}

// u = w on and above the diagonal of an [n, n] block, n up to 64; below it stays.
KERNEL(256) set_diagonal_block(const float* w, i64 wStride, float* u, i64 uStride, int n) {
    for (int at = threadIdx.x; at < n * n; at += 256) {
        i64 i = at / n;
        i64 j = at % n;
        if (j >= i) {
            u[i * uStride + j] = w[i * wStride + j];
        }
    }
}

// One diagonal block a [n, n], n up to 64, by one block of threads: a becomes v with a = v v^T, w becomes v^-1 with zeros
// below. failed[0] becomes 1 when a pivot is not positive and finite.
KERNEL(CHOLESKY_THREADS) factor_block(float* a, i64 aStride, float* w, i64 wStride, int n, int* failed) {
    SHARED(float, v, BLOCK * PITCH);
    SHARED(float, x, BLOCK * PITCH);
    int thread = threadIdx.x;
    for (int at = thread; at < n * n; at += CHOLESKY_THREADS) {
        int i = at / n;
        int j = at % n;
        v[i * PITCH + j] = j >= i ? a[i * aStride + j] : 0.0f;
    }
    __syncthreads();
    for (int j = n - 1; j >= 0; j--) {
        float pivot = v[j * PITCH + j];
        if (thread == 0 && (!(pivot > 0) || pivot == infinity())) {
            failed[0] = 1;
        }
        float root = sqrtf(pivot);
        __syncthreads();
        if (thread <= j) {
            v[thread * PITCH + j] = thread == j ? root : v[thread * PITCH + j] / root;
        }
        __syncthreads();
        for (int at = thread; at < j * j; at += CHOLESKY_THREADS) {
            int i = at / j;
            int k = at % j;
            if (k >= i) {
                v[i * PITCH + k] = fmaf(-v[i * PITCH + j], v[k * PITCH + j], v[i * PITCH + k]);
            }
        }
        __syncthreads();
    }
    // Column c of the inverse by back substitution: x_c = 1 / v_cc, x_i = -(sum_{k > i} v_ik x_k) / v_ii.
    if (thread < n) {
        int c = thread;
        x[c * PITCH + c] = 1 / v[c * PITCH + c];
        for (int i = c - 1; i >= 0; i--) {
            float sum = 0;
            for (int k = i + 1; k <= c; k++) {
                sum = fmaf(v[i * PITCH + k], x[k * PITCH + c], sum);
            }
            x[i * PITCH + c] = -sum / v[i * PITCH + i];
        }
    }
    __syncthreads();
    for (int at = thread; at < n * n; at += CHOLESKY_THREADS) {
        int i = at / n;
        int j = at % n;
        w[i * wStride + j] = j >= i ? x[i * PITCH + j] : 0.0f;
        if (j >= i) {
            a[i * aStride + j] = v[i * PITCH + j];
        }
    }
}
