// The shape of attention, for all its kernels.
#ifndef OPTGPTQ_ATTENTION_SHAPE_H
#define OPTGPTQ_ATTENTION_SHAPE_H
#include "portability.h"

struct Shape {
    int length;
    int heads;
    int kvHeads;
    int headDim;   // of queries and keys
    int valueDim;  // of values and of the output
    float scale;
    float inCaps;  // scale / cap: the score of the product 1 in caps; 0 where scores are not capped
    int window;

    // Whether the query at position i sees the key at position j; rows beyond the sequence see nothing and are not seen.
    __device__ __forceinline__ bool sees(int i, int j) const {
        return j <= i && i < length && (window == 0 || j > i - window);
    }

    // The input of the softmax: the product of a query and a key, capped, scaled, with ALiBi's bias.
    __device__ __forceinline__ float score(float product, float slope, int i, int j) const {
        return fmaf(product, scale, slope * (j - i));
    }

    // A product with capped scores: the score is then cap tanh(product scale / cap).
    __device__ __forceinline__ float capped(float product) const {
        return inCaps == 0 ? product : tanhf(product * inCaps) / inCaps;
    }

    // The derivative of that, from its result.
    __device__ __forceinline__ float rise(float capped) const { return fmaf(-(capped * inCaps), capped * inCaps, 1.0f); }

    // The first tile of TILE keys that the query at position first, or a later one, sees.
    __device__ __forceinline__ int first_keys(int first, int keys) const {
        return window > 0 && first - window + 1 > 0 ? (first - window + 1) / keys * keys : 0;
    }
};

#endif
