// NeuralOps.crossEntropy: nll[r] = log(sum_j exp(logits[r, j])) - logits[r, target[r]], a block per row. Exponentials in
// float32, their sum in float64.
#include "reduce.h"

KERNEL(THREADS) cross_entropy(const float* logits, i64 stride, i64 vocabulary, const int* targets, double* nll) {
    SHARED(double, sums, THREADS);
    SHARED(float, maxima, THREADS);
    const float* row = logits + blockIdx.x * stride;
    float max = -infinity();
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        max = Larger::of(max, row[c]);
    }
    max = block_reduce<Larger>(max, maxima);
    double sum = 0;
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        sum += expf(row[c] - max);
    }
    sum = block_reduce<Sum>(sum, sums);
    if (threadIdx.x == 0) {
        i64 target = targets[blockIdx.x];
        nll[blockIdx.x] = target >= 0 && target < vocabulary ? log(sum) + ((double)max - row[target])
                                                             : (double)not_a_number();
    }
}
