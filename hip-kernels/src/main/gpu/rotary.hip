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

// The same to out, as the float dtype type: a thread turns one pair, or copies one of the elements of a head that do not turn. turns =
// heads * (headDim - pairs), which fits 32 bits.
KERNEL(256) rotary_to(const float* x, i64 xStride, int headDim, const float* cosines, i64 cosStride, const float* sines,
                      i64 sinStride, i64 positions, int pairs, int interleaved, void* out, int type, i64 outStride, i64 turns) {
    int ofHead = headDim - pairs;
    FOR_CHUNK(row, turn, turns) {
        int head = (int)turn / ofHead;
        int i = (int)turn - head * ofHead;
        const float* from = x + row * xStride + head * headDim;
        i64 to = row * outStride + head * headDim;
        if (i >= pairs) {
            store_float(out, to + pairs + i, type, from[pairs + i]);
            continue;
        }
        i64 position = row % positions;
        float c = cosines[position * cosStride + i];
        float s = sines[position * sinStride + i];
        int first = interleaved ? 2 * i : i;
        int second = first + (interleaved ? 1 : pairs);
        float a = from[first];
        float b = from[second];
        store_float(out, to + first, type, fmaf(a, c, -(b * s)));
        store_float(out, to + second, type, fmaf(b, c, a * s));
    }
}

KERNEL(256) rotary_gradient(ARGUMENTS) {
    turn_pairs(-1, x, xStride, headDim, cosines, cosStride, sines, sinStride, positions, pairs, interleaved, turns);
}
