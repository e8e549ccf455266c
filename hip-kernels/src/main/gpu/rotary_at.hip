// CacheOps.rotaryAt, in place: as rotary.hip, but each row has its own position.
#include "elements.h"

// turns = heads * pairs.
KERNEL(256) rotary_at(float* x, i64 xStride, int headDim, const float* cosines, i64 cosStride, const float* sines, i64 sinStride,
                      const int* positions, int pairs, int interleaved, i64 turns) {
    FOR_CHUNK(row, turn, turns) {
        i64 head = turn / pairs;
        int i = (int)(turn - head * pairs);
        i64 position = positions[row];
        float c = cosines[position * cosStride + i];
        float s = sines[position * sinStride + i];
        float* first = x + row * xStride + head * headDim + (interleaved ? 2 * i : i);
        float* second = first + (interleaved ? 1 : pairs);
        float a = *first;
        float b = *second;
        *first = fmaf(a, c, -(b * s));
        *second = fmaf(b, c, a * s);
    }
}
