// NeuralOps.rotary and GradientOps.rotaryGradient, in place: x [N, heads * headDim]; cos, sin [positions, pairs]. A thread
// turns one pair of one row.
#include "elements.h"
#include "turn.h"

// turns = heads * pairs.
#define ARGUMENTS float *x, i64 xStride, int headDim, const float *cosines, i64 cosStride, const float *sines, \
                  i64 sinStride, i64 positions, int pairs, int interleaved, i64 turns

DEVICE void turn_pairs(float direction, ARGUMENTS) {
    Turn turn = {cosines, cosStride, sines, sinStride, pairs, interleaved};
    FOR_CHUNK(row, at, turns) {
        i64 head = at / pairs;
        turn.in_place(x + row * xStride + head * headDim, row % positions, (int)(at - head * pairs), direction);
    }
}

KERNEL(256) rotary(ARGUMENTS) {
    turn_pairs(1, x, xStride, headDim, cosines, cosStride, sines, sinStride, positions, pairs, interleaved, turns);
}

// The same to out, as the float dtype type: a thread turns one pair, or copies one of the elements of a head that do not turn. turns =
// heads * (headDim - pairs), which fits 32 bits.
KERNEL(256) rotary_to(const float* x, i64 xStride, int headDim, const float* cosines, i64 cosStride, const float* sines,
                      i64 sinStride, i64 positions, int pairs, int interleaved, void* out, int type, i64 outStride, i64 turns) {
    Turn turn = {cosines, cosStride, sines, sinStride, pairs, interleaved};
    int ofHead = headDim - pairs;
    FOR_CHUNK(row, at, turns) {
        int head = (int)at / ofHead;
        int i = (int)at - head * ofHead;
        const float* from = x + row * xStride + head * headDim;
        i64 to = row * outStride + head * headDim;
        if (i >= pairs) {
            store_float(out, to + pairs + i, type, from[pairs + i]);
            continue;
        }
        Turned pair = turn.turned(from, row % positions, i);
        store_float(out, to + turn.first(i), type, pair.first);
        store_float(out, to + turn.first(i) + turn.apart(), type, pair.second);
    }
}

KERNEL(256) rotary_gradient(ARGUMENTS) {
    turn_pairs(-1, x, xStride, headDim, cosines, cosStride, sines, sinStride, positions, pairs, interleaved, turns);
}
