// QuantOps.searchScale: the best of ScaleSearch's candidates for the scale of one group per output; wt F32 [g, out],
// importance F32 [g].
#include "grid.h"

#define STEPS 61
// Threads that share the candidates of one output.
#define SEARCHERS 16
#define SEARCH_THREADS 256
#define OUTPUTS (SEARCH_THREADS / SEARCHERS)

struct Candidates {
    Fit fit;
    float low;
    float high;

    __device__ __forceinline__ bool signs() const { return fit.symmetric && !fit.positive; }

    __device__ __forceinline__ int count() const { return signs() ? 2 * STEPS : STEPS; }

    __device__ __forceinline__ float shrink(int candidate) const {
        return (float)(1 - (signs() ? candidate / 2 : candidate) / 100.0);
    }

    __device__ __forceinline__ float scale(int candidate) const {
        float p = shrink(candidate);
        float scale = fit.scale(mul(p, low), mul(p, high));
        bool negative = signs() && candidate % 2 != 0;
        return negative == (scale < 0) ? scale : -scale;
    }

    __device__ __forceinline__ int zero(int candidate, float scale) const {
        return fit.zero(mul(shrink(candidate), low), scale);
    }
};

// A block takes 16 outputs; each has 16 threads, which try the candidates in turn. Sums go in the order of the inputs, as they
// do on every device.
KERNEL(SEARCH_THREADS) search_scale(int bits, int symmetric, int scaleType, int positive, const float* wt,
                                    i64 wtStride, int inputs, const float* importance, float* scales, int* zeros, i64 outputs) {
    SHARED(float, errors, SEARCH_THREADS);
    SHARED(int, chosen, SEARCH_THREADS);
    Candidates from = {{(1 << bits) - 1, bits, symmetric, scaleType, positive}, 0, 0};
    int searcher = threadIdx.x / OUTPUTS;
    i64 o = (i64)blockIdx.x * OUTPUTS + threadIdx.x % OUTPUTS;
    bool inside = o < outputs;
    for (int i = 0; inside && i < inputs; i++) {
        float w = wt[i * wtStride + o];
        from.low = smaller(w, from.low);
        from.high = larger(w, from.high);
    }
    from.fit.range(from.low, from.high);
    float least = infinity();
    int best = 0;
    for (int candidate = searcher; inside && candidate < from.count(); candidate += SEARCHERS) {
        float scale = from.scale(candidate);
        int zero = from.zero(candidate, scale);
        float inverse = quotient(1, scale);
        float lowest = (float)-zero;
        float highest = (float)(from.fit.maxCode - zero);
        float error = 0;
        for (int i = 0; i < inputs; i++) {
            float w = wt[i * wtStride + o];
            float d = sub(w, mul(scale, rintf(Fit::clamp(mul(w, inverse), lowest, highest))));
            error = add(error, mul(mul(d, d), importance[i]));
        }
        if (error < least) {
            least = error;
            best = candidate;
        }
    }
    errors[threadIdx.x] = least;
    chosen[threadIdx.x] = best;
    __syncthreads();
    if (searcher == 0 && inside) {
        // The smallest error; of equal ones the first candidate.
        for (int other = 1; other < SEARCHERS; other++) {
            int at = other * OUTPUTS + threadIdx.x;
            if (errors[at] < least || (errors[at] == least && least < infinity() && chosen[at] < best)) {
                least = errors[at];
                best = chosen[at];
            }
        }
        float scale = from.scale(best);
        scales[o] = scale;
        zeros[o] = from.zero(best, scale);
    }
}
