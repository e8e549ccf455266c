// NeuralOps.crossEntropy and its gradient, a block per row. Exponentials in float32, their sum in float64.
#include "reduce.h"

// What the softmax of a row takes: sum = the sum over j of exp(logits[j] - max).
struct RowSum {
    float max;
    double sum;
};

template <class Sums, class Maxima> DEVICE RowSum row_sum(const float* row, i64 vocabulary, Sums sums, Maxima maxima) {
    float max = -infinity();
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        max = Larger::of(max, row[c]);
    }
    max = block_reduce<Larger>(max, maxima);
    double sum = 0;
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        sum += expf(row[c] - max);
    }
    return {max, block_reduce<Sum>(sum, sums)};
}

// nll[r] = log(sum_j exp(logits[r, j])) - logits[r, target[r]]; a target outside the vocabulary gives NaN.
KERNEL(THREADS) cross_entropy(const float* logits, i64 stride, i64 vocabulary, const int* targets, double* nll) {
    SHARED(double, sums, THREADS);
    SHARED(float, maxima, THREADS);
    const float* row = logits + blockIdx.x * stride;
    RowSum all = row_sum(row, vocabulary, sums, maxima);
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
    RowSum all = row_sum(row, vocabulary, sums, maxima);
    float inverse = (float)(1 / all.sum);
    i64 target = targets[blockIdx.x];
    float weight = target >= 0 && target < vocabulary ? weights[blockIdx.x] : not_a_number();
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        float p = expf(row[c] - all.max) * inverse;
        row[c] = weight * (c == target ? p - 1 : p);
    }
}
