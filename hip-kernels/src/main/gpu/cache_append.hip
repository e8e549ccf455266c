// CacheOps.append: keys and values of N rows to their slots; and FusedOps.turnAndAppend, which turns queries and keys before. 32
// threads take one head of one row, of the queries, the keys or the values.
#include "cache_pages.h"
#include "reduce.h"
#include "turn.h"

#define LANES 32
#define ITEMS (256 / LANES)

// A number rounded to F16.
DEVICE float stored(float value) {
    float most = 65504.0f;
    return from_f16(to_f16(value < -most ? -most : value > most ? most : value));
}

DEVICE u32 code_of(float value, float scale, float minimum, float maxCode) {
    float steps = scale == 0 ? 0.0f : rintf(quotient(sub(value, minimum), scale));
    return (u32)(steps > maxCode ? maxCode : steps > 0 ? steps : 0.0f);
}

template <class Op> DEVICE float across(float value) {
    #pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) {
        value = Op::of(value, shuffle(value, (int)threadIdx.x % LANES ^ step, LANES));
    }
    return value;
}

struct Smaller {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return b < a ? b : a; }
};

// Where heads go: keys, or values. Grids are null where elements are not codes.
struct Target {
    int type;
    int headDim;
    int width;
    int kvHeads;
    void* elements;
    i64 stride;
    u16* grids;
    i64 gridStride;

    // x [headDim] of one row and head; the whole group of lanes calls it. A slot below 0 is none.
    __device__ __forceinline__ void store(const float* x, int slot, i64 head) const {
        int lane = threadIdx.x % LANES;
        i64 pageRow = (i64)(slot / TOKENS) * kvHeads + head;
        int place = slot % TOKENS;
        i64 at = pageRow * stride + (i64)place * width;
        if (type != INT8 && type != INT4) {
            for (int d = lane; slot >= 0 && d < headDim; d += LANES) {
                store_float(elements, at + d, type, x[d]);
            }
            return;
        }
        float low = infinity();
        float high = -infinity();
        for (int d = lane; slot >= 0 && d < headDim; d += LANES) {
            low = Smaller::of(low, x[d]);
            high = Larger::of(high, x[d]);
        }
        low = across<Smaller>(low);
        high = across<Larger>(high);
        if (slot < 0) {
            return;
        }
        float maxCode = type == INT8 ? 255.0f : 15.0f;
        float scale = stored(quotient(sub(high, low), maxCode));
        float minimum = stored(low);
        u8* codes = (u8*)elements + at;
        for (int b = lane; b < width; b += LANES) {
            if (type == INT8) {
                codes[b] = (u8)code_of(x[b], scale, minimum, maxCode);
            } else {
                u32 second = 2 * b + 1 < headDim ? code_of(x[2 * b + 1], scale, minimum, maxCode) : 0;
                codes[b] = (u8)(code_of(x[2 * b], scale, minimum, maxCode) | second << 4);
            }
        }
        if (lane == 0) {
            u16* grid = grids + pageRow * gridStride + 2 * place;
            grid[0] = to_f16(scale);
            grid[1] = to_f16(minimum);
        }
    }
};

#define TARGETS int type, int kvHeads, int headDim, int width, void *keys, i64 keyStride, u16 *keyGrids, i64 keyGridStride, \
                void *values, i64 valueStride, u16 *valueGrids, i64 valueGridStride
#define KEYS Target{type, headDim, width, kvHeads, keys, keyStride, keyGrids, keyGridStride}
#define VALUES Target{type, headDim, width, kvHeads, values, valueStride, valueGrids, valueGridStride}

// The grid is ceil(2 N kvHeads / 8): all keys, then all values.
KERNEL(256) append(const float* k, i64 kStride, const float* v, i64 vStride, const int* slots, i64 rows, TARGETS) {
    i64 item = (i64)blockIdx.x * ITEMS + threadIdx.x / LANES;
    bool isValue = item >= rows * kvHeads;
    i64 row = item / kvHeads - (isValue ? rows : 0);
    i64 head = item % kvHeads;
    const float* x = (isValue ? v + row * vStride : k + row * kStride) + head * headDim;
    (isValue ? VALUES : KEYS).store(x, row < rows ? slots[row] : -1, head);
}

// The grid is ceil(N (heads + 2 kvHeads) / 8): all queries, all keys, all values.
KERNEL(256) turn_and_append(float* q, i64 qStride, int heads, float* k, i64 kStride, const float* v, i64 vStride,
                            const float* cosines, i64 cosStride, const float* sines, i64 sinStride, const int* positions, int pairs,
                            int interleaved, const int* slots, i64 rows, TARGETS) {
    i64 item = (i64)blockIdx.x * ITEMS + threadIdx.x / LANES;
    i64 all = heads + 2 * kvHeads;
    i64 row = item / all;
    int head = (int)(item % all);
    bool isQuery = head < heads;
    bool isValue = head >= heads + kvHeads;
    head -= isQuery ? 0 : isValue ? heads + kvHeads : heads;
    float* x = (isQuery ? q + row * qStride : isValue ? (float*)v + row * vStride : k + row * kStride) + (i64)head * headDim;
    if (row < rows && !isValue) {
        Turn turn = {cosines, cosStride, sines, sinStride, pairs, interleaved};
        for (int i = threadIdx.x % LANES; i < pairs; i += LANES) {
            turn.in_place(x, positions[row], i);
        }
    }
    // Codes take neighbours that other lanes have turned.
    __syncthreads();
    (isValue ? VALUES : KEYS).store(x, row < rows && !isQuery ? slots[row] : -1, head);
}
