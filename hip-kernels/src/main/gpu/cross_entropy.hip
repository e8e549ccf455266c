// NeuralOps.crossEntropy and its gradient, a block per row.
#include "softmax.h"

// nll[r] = log(sum_j exp(logits[r, j])) - logits[r, target[r]]; a target outside the vocabulary gives NaN.
KERNEL(THREADS) cross_entropy(const float* logits, i64 stride, i64 vocabulary, const int* targets, double* nll) {
    SHARED(double, sums, THREADS);
    SHARED(float, maxima, THREADS);
    const float* row = logits + blockIdx.x * stride;
    Softmax all = softmax(row, vocabulary, maxima, sums);
    if (threadIdx.x == 0) {
        i64 target = targets[blockIdx.x];
        nll[blockIdx.x] = target >= 0 && target < vocabulary ? log(all.sum) + ((double)all.max - row[target])
                                                             : (double)not_a_number();
    }
}

// logits[r] = weights[r] (softmax(logits[r]) - onehot(targets[r])), in place; a target outside the vocabulary gives NaN.
KERNEL(THREADS) cross_entropy_gradient(float* logits, i64 stride, i64 vocabulary, const int* targets,
                                       const float* weights) {
    SHARED(double, sums, THREADS);
    SHARED(float, maxima, THREADS);
    float* row = logits + blockIdx.x * stride;
    Softmax all = softmax(row, vocabulary, maxima, sums);
    float share = (float)all.share;
    i64 target = targets[blockIdx.x];
    float weight = target >= 0 && target < vocabulary ? weights[blockIdx.x] : not_a_number();
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        float p = expf(row[c] - all.max) * share;
        row[c] = weight * (c == target ? p - 1 : p);
    }
}
