// NeuralOps.klDivergence and GradientOps.klGradient of two rows of logits, a block per row. Exponentials in float32, sums in
// float64.
#include "softmax.h"

struct Smaller {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return b < a ? b : a; }
};

// The first column that holds the maximum.
template <class Columns> DEVICE int first_largest(const float* row, i64 vocabulary, float max, Columns columns) {
    int first = (int)vocabulary;
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        if (row[c] == max) {
            first = Smaller::of(first, (int)c);
        }
    }
    return block_reduce<Smaller>(first, columns);
}

// p (e^x - 1 - x) with x = log q - log p, whose sum is the divergence as p and q sum to 1: no negative terms, and no
// cancellation when the two are close (CpuKlDivergence.java). Near 0 by its series.
DEVICE double term(double p, double q, double x) {
    if (x > -1 && x < 1) {
        double series = 1.0 / 3628800;
        series = series * x + 1.0 / 362880;
        series = series * x + 1.0 / 40320;
        series = series * x + 1.0 / 5040;
        series = series * x + 1.0 / 720;
        series = series * x + 1.0 / 120;
        series = series * x + 1.0 / 24;
        series = series * x + 1.0 / 6;
        series = series * x + 1.0 / 2;
        return p * x * x * series;
    }
    return q - p - p * x;
}

KERNEL(THREADS) kl_divergence(const float* teacher, i64 teacherStride, const float* student, i64 studentStride,
                              i64 vocabulary, double* kl, int* agrees) {
    SHARED(double, sums, THREADS);
    SHARED(float, maxima, THREADS);
    SHARED(int, columns, THREADS);
    const float* t = teacher + blockIdx.x * teacherStride;
    const float* s = student + blockIdx.x * studentStride;
    Softmax p = softmax(t, vocabulary, maxima, sums);
    Softmax q = softmax(s, vocabulary, maxima, sums);
    double ratio = log(q.sum) - log(p.sum);
    double divergence = 0;
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        // The maxima are subtracted first: beside a large one the logarithms would be rounded away.
        double x = ((double)s[c] - q.max) - ((double)t[c] - p.max) - ratio;
        divergence += term(expf(t[c] - p.max) * p.share, expf(s[c] - q.max) * q.share, x);
    }
    divergence = block_reduce<Sum>(divergence, sums);
    int teachers = first_largest(t, vocabulary, p.max, columns);
    int students = first_largest(s, vocabulary, q.max, columns);
    if (threadIdx.x == 0) {
        kl[blockIdx.x] = divergence;
        agrees[blockIdx.x] = divergence == divergence && teachers == students;
    }
}

// student = weight (softmax(student) - softmax(teacher))
KERNEL(THREADS) kl_gradient(const float* teacher, i64 teacherStride, float* student, i64 studentStride, i64 vocabulary,
                            const float* weights) {
    SHARED(double, sums, THREADS);
    SHARED(float, maxima, THREADS);
    const float* t = teacher + blockIdx.x * teacherStride;
    float* s = student + blockIdx.x * studentStride;
    Softmax p = softmax(t, vocabulary, maxima, sums);
    Softmax q = softmax(s, vocabulary, maxima, sums);
    float weight = weights[blockIdx.x];
    float scaleP = (float)(weight / p.sum);
    float scaleQ = (float)(weight / q.sum);
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        s[c] = mul(expf(s[c] - q.max), scaleQ) - mul(expf(t[c] - p.max), scaleP);
    }
}
