// NeuralOps.rotary and GradientOps.rotaryGradient, in place: x [N, heads * headDim]; cos, sin [positions, pairs]. A thread
// turns one pair of one row.
#include "elements.h"

// turns = heads * pairs.
#define ARGUMENTS float *x, i64 xStride, int headDim, const float *cosines, i64 cosStride, const float *sines, \
                  i64 sinStride, i64 positions, int pairs, int interleaved, i64 turns

// (a, b) becomes (a cos - b sin, b cos + a sin), sin with the sign of direction: 1, or -1 for the transposed rotation.
DEVICE void turn_pairs(float direction, ARGUMENTS) {
    FOR_CHUNK(row, turn, turns) {
        i64 head = turn / pairs;
        int i = (int)(turn - head * pairs);
        i64 position = row % positions;
        float c = cosines[position * cosStride + i];
        float s = direction * sines[position * sinStride + i];
        float* first = x + row * xStride + head * headDim + (interleaved ? 2 * i : i);
        float* second = first + (interleaved ? 1 : pairs);
        float a = *first;
        float b = *second;
        *first = fmaf(a, c, -(b * s));
        *second = fmaf(b, c, a * s);
    }
}

KERNEL(256) rotary(ARGUMENTS) {
    turn_pairs(1, x, xStride, headDim, cosines, cosStride, sines, sinStride, positions, pairs, interleaved, turns);
}

// The same to out, all elements of every head, as the float dtype type. A thread computes one element.
KERNEL(256) rotary_to(const float* x, i64 xStride, int headDim, const float* cosines, i64 cosStride, const float* sines,
                      i64 sinStride, i64 positions, int pairs, int interleaved, void* out, int type, i64 outStride,
                      i64 columns) {
    FOR_CHUNK(row, column, columns) {
        int inHead = (int)(column % headDim);
        const float* at = x + row * xStride + column;
        float value = *at;
        if (inHead < 2 * pairs) {
            bool second = interleaved ? inHead % 2 == 1 : inHead >= pairs;
            int i = interleaved ? inHead / 2 : second ? inHead - pairs : inHead;
            int step = interleaved ? 1 : pairs;
            i64 position = row % positions;
            float c = cosines[position * cosStride + i];
            float s = sines[position * sinStride + i];
            value = second ? fmaf(value, c, at[-step] * s) : fmaf(value, c, -(at[step] * s));
        }
        store_float(out, row * outStride + column, type, value);
    }
}

KERNEL(256) rotary_gradient(ARGUMENTS) {
    turn_pairs(-1, x, xStride, headDim, cosines, cosStride, sines, sinStride, positions, pairs, interleaved, turns);
}
