// Rotary position embedding of one pair of elements of a head: (a, b) becomes (a cos - b sin, b cos + a sin).
#ifndef OPTGPTQ_TURN_H
#define OPTGPTQ_TURN_H
#include "portability.h"

struct Turned {
    float first;
    float second;
};

// The tables F32 [positions, pairs], and how the pairs lie in a head.
struct Turn {
    const float* cosines;
    i64 cosStride;
    const float* sines;
    i64 sinStride;
    int pairs;
    int interleaved;

    // Where the first element of pair i lies in a head, and how far from there the second one.
    __device__ __forceinline__ int first(int i) const { return interleaved ? 2 * i : i; }
    __device__ __forceinline__ int apart() const { return interleaved ? 1 : pairs; }

    // The sine has the sign of direction: 1, or -1 for the transposed rotation.
    __device__ __forceinline__ Turned turned(const float* head, i64 position, int i, float direction = 1) const {
        float c = cosines[position * cosStride + i];
        float s = direction * sines[position * sinStride + i];
        const float* own = head + first(i);
        float a = own[0];
        float b = own[apart()];
        return Turned{fmaf(a, c, -(b * s)), fmaf(b, c, a * s)};
    }

    __device__ __forceinline__ void in_place(float* head, i64 position, int i, float direction = 1) const {
        Turned pair = turned(head, position, i, direction);
        float* own = head + first(i);
        own[0] = pair.first;
        own[apart()] = pair.second;
    }
};

#endif
