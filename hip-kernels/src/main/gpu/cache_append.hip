// CacheOps.append: keys and values of N rows to their slots. 32 threads take one head of one row, of the keys or of the values.
#include "cache_pages.h"
#include "reduce.h"

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

// The grid is ceil(2 N kvHeads / 8): all keys, then all values. Grids are null where elements are not codes.
KERNEL(256) append(const float* k, i64 kStride, const float* v, i64 vStride, const int* slots, i64 items, int type,
                   int kvHeads, int headDim, int width, void* keys, i64 keyStride, u16* keyGrids, i64 keyGridStride,
                   void* values, i64 valueStride, u16* valueGrids, i64 valueGridStride) {
    i64 item = (i64)blockIdx.x * ITEMS + threadIdx.x / LANES;
    int lane = threadIdx.x % LANES;
    bool isValue = item >= items;
    i64 head = isValue ? item - items : item;
    int slot = head < items ? slots[head / kvHeads] : -1;
    i64 row = head / kvHeads;
    const float* x = (isValue ? v + row * vStride : k + row * kStride) + head % kvHeads * headDim;
    i64 pageRow = (i64)(slot / TOKENS) * kvHeads + head % kvHeads;
    int place = slot % TOKENS;
    void* elements = isValue ? values : keys;
    i64 at = pageRow * (isValue ? valueStride : keyStride) + (i64)place * width;
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
        u16* grid = (isValue ? valueGrids : keyGrids) + pageRow * (isValue ? valueGridStride : keyGridStride) + 2 * place;
        grid[0] = to_f16(scale);
        grid[1] = to_f16(minimum);
    }
}
