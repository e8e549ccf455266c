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
    for (int c = threadIdx.x; c < columns; c += THREADS) {
        float logit = row[c];
        broken |= !(logit - logit == 0.0f);
        if (logit > most) {
            most = logit;
            first = c;
        }
    }
    float top = block_reduce<Larger>(most, floats);
    int index = block_reduce<First>(most == top ? first : columns, integers);
    int bad = block_reduce<Larger>(broken, integers);
    if (threadIdx.x == 0) {
        ids[blockIdx.x] = bad ? -1 : index;
    }
}
