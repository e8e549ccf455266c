// Rotary position embedding of one pair of elements of a head.
#ifndef OPTGPTQ_TURN_H
#define OPTGPTQ_TURN_H
#include "portability.h"

// The tables F32 [positions, pairs], and how the pairs lie in a head.
struct Turn {
    const float* cosines;
    i64 cosStride;
    const float* sines;
    i64 sinStride;
    int pairs;
    int interleaved;

    __device__ __forceinline__ void of(float* head, i64 position, int i) const {
        float c = cosines[position * cosStride + i];
        float s = sines[position * sinStride + i];
        float* first = head + (interleaved ? 2 * i : i);
        float* second = first + (interleaved ? 1 : pairs);
        float a = *first;
        float b = *second;
        *first = fmaf(a, c, -(b * s));
        *second = fmaf(b, c, a * s);
    }
};

#endif
