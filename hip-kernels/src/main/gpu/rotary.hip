// NeuralOps.rotary, in place: x [N, heads * headDim]; cos, sin [positions, pairs]. A thread turns one pair of one row.
#include "elements.h"

// turns = heads * pairs; (a, b) becomes (a cos - b sin, b cos + a sin).
KERNEL(256) rotary(float* x, i64 xStride, int headDim, const float* cosines, i64 cosStride, const float* sines,
                   i64 sinStride, i64 positions, int pairs, int interleaved, i64 turns) {
    FOR_CHUNK(row, turn, turns) {
        i64 head = turn / pairs;
        int i = (int)(turn - head * pairs);
        i64 position = row % positions;
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
