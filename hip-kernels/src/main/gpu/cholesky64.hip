// The step of Float64Ops.solve that is not a matmul: a diagonal block of a = l l^T, and its inverse.
#include "portability.h"

#define BLOCK 64
#define PITCH (BLOCK + 1)
#define FACTOR_THREADS 256

// One diagonal block a [n, n], n up to 64, by one block of threads: w becomes l^-1 with zeros above, and a's lower triangle l.
// failed[0] becomes 1 when a pivot is not positive and finite. Shared memory holds l on and below the diagonal and the transposed
// inverse above it, whose own diagonal is that of 1 / l.
KERNEL(FACTOR_THREADS) factor_block(double* a, i64 aStride, double* w, i64 wStride, int n, int* failed) {
    SHARED(double, v, BLOCK * PITCH);
    int thread = threadIdx.x;
    for (int at = thread; at < n * n; at += FACTOR_THREADS) {
        int i = at / n;
        int j = at % n;
        v[i * PITCH + j] = j <= i ? a[i * aStride + j] : 0.0;
    }
    __syncthreads();
    for (int j = 0; j < n; j++) {
        double pivot = v[j * PITCH + j];
        if (thread == 0 && (!(pivot > 0) || pivot - pivot != 0)) {
            failed[0] = 1;
        }
        double root = sqrt(pivot);
        __syncthreads();
        if (thread >= j && thread < n) {
            v[thread * PITCH + j] = thread == j ? root : v[thread * PITCH + j] / root;
        }
        __syncthreads();
        int left = n - 1 - j;
        for (int at = thread; at < left * left; at += FACTOR_THREADS) {
            int i = j + 1 + at / left;
            int k = j + 1 + at % left;
            if (k <= i) {
                v[i * PITCH + k] = fma(-v[i * PITCH + j], v[k * PITCH + j], v[i * PITCH + k]);
            }
        }
        __syncthreads();
    }
    // Column c of the inverse by substitution, in row c: x_c = 1 / l_cc, x_i = -(sum_{c <= k < i} l_ik x_k) / l_ii.
    if (thread < n) {
        int c = thread;
        double first = 1 / v[c * PITCH + c];
        for (int i = c + 1; i < n; i++) {
            double sum = v[i * PITCH + c] * first;
            for (int k = c + 1; k < i; k++) {
                sum = fma(v[i * PITCH + k], v[c * PITCH + k], sum);
            }
            v[c * PITCH + i] = -sum / v[i * PITCH + i];
        }
    }
    __syncthreads();
    for (int at = thread; at < n * n; at += FACTOR_THREADS) {
        int i = at / n;
        int j = at % n;
        w[i * wStride + j] = j < i ? v[j * PITCH + i] : j == i ? 1 / v[i * PITCH + i] : 0.0;
        if (j <= i) {
            a[i * aStride + j] = v[i * PITCH + j];
        }
    }
}
