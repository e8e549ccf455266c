// The softmax of a row of logits, by one block. Exponentials in float32, their sum in float64.
#ifndef OPTGPTQ_SOFTMAX_H
#define OPTGPTQ_SOFTMAX_H
#include "reduce.h"

// A row's softmax is e^(x - max) / sum, and share is 1 / sum.
struct Softmax {
    float max;
    double sum;
    double share;
};

template <class Floats, class Doubles>
DEVICE Softmax softmax(const float* row, i64 vocabulary, Floats maxima, Doubles sums) {
    float max = -infinity();
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        max = Larger::of(max, row[c]);
    }
    Softmax result;
    result.max = block_reduce<Larger>(max, maxima);
    double sum = 0;
    for (i64 c = threadIdx.x; c < vocabulary; c += THREADS) {
        sum += expf(row[c] - result.max);
    }
    result.sum = block_reduce<Sum>(sum, sums);
    result.share = 1 / result.sum;
    return result;
}

#endif
