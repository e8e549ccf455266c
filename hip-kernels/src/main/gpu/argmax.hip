// CacheOps.argmax: the first maximum of a row, or -1 where the row has a non-finite element. One block per row.
#include "reduce.h"

struct First {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return b < a ? b : a; }
};

KERNEL(THREADS) argmax(const float* logits, i64 stride, int columns, int* ids) {
    SHARED(float, floats, THREADS);
    SHARED(int, integers, THREADS);
    const float* row = logits + blockIdx.x * stride;
    float most = -infinity();
    int first = columns;
    int broken = 0;
    auto look = [&](float logit, int c) {
        broken |= !(logit - logit == 0.0f);
        if (logit > most) {
            most = logit;
            first = c;
        }
    };
    bool fours = columns % 4 == 0 && (u64)row % 16 == 0;
    #pragma unroll 4
    for (int c = 4 * threadIdx.x; fours && c < columns; c += 4 * THREADS) {
        Four logits = four(row + c);
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            look(logits.at[i], c + i);
        }
    }
    for (int c = threadIdx.x; !fours && c < columns; c += THREADS) {
        look(row[c], c);
    }
    float top = block_reduce<Larger>(most, floats);
    int index = block_reduce<First>(most == top ? first : columns, integers);
    int bad = block_reduce<Larger>(broken, integers);
    if (threadIdx.x == 0) {
        ids[blockIdx.x] = bad ? -1 : index;
    }
}
