// CacheOps.rotaryAt, in place: as rotary.hip, but each row has its own position.
#include "elements.h"
#include "turn.h"

// turns = heads * pairs.
KERNEL(256) rotary_at(float* x, i64 xStride, int headDim, const float* cosines, i64 cosStride, const float* sines, i64 sinStride,
                      const int* positions, int pairs, int interleaved, i64 turns) {
    Turn turn = {cosines, cosStride, sines, sinStride, pairs, interleaved};
    FOR_CHUNK(row, at, turns) {
        i64 head = at / pairs;
        turn.in_place(x + row * xStride + head * headDim, positions[row], (int)(at - head * pairs));
    }
}
