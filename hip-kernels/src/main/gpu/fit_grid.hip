// QuantOps.fitGrid: the scale and zero point of one group per output; wt F32 [g, out].
#include "grid.h"

// ClipNorm.java: 0.8 of the bits of 1.0, moved to where the guess is best over the mantissa.
#define ROOT_GUESS (852282572 - 0x50000)
#define CLIP_STEPS 80
// Threads that share the clip search of one output.
#define SEARCHERS 16
#define FIT_THREADS 256
#define OUTPUTS (FIT_THREADS / SEARCHERS)

// |d|^2.4: ClipNorm.power.
DEVICE float power(float d) {
    float y = mul(d, d);
    float root = __int_as_float((int)mul((float)__float_as_int(y), 0.2f) + ROOT_GUESS);
    for (int i = 0; i < 3; i++) {
        float square = mul(root, root);
        root = add(mul(root, 0.8f), mul(quotient(y, mul(square, square)), 0.2f));
    }
    return mul(y, root);
}

// A block takes 16 outputs; each has 16 threads, which try the steps of the clip search in turn. Sums go in the order of
// the inputs, as they do on every device.
KERNEL_BESIDE(FIT_THREADS, 4) fit_grid(int bits, int symmetric, int clipSearch, int scaleType, int positive, const float* wt,
                                       i64 wtStride, int inputs, float* scales, int* zeros, i64 outputs) {
    SHARED(float, errors, FIT_THREADS);
    SHARED(int, steps_, FIT_THREADS);
    Fit fit = {(1 << bits) - 1, bits, symmetric, scaleType, positive};
    int searcher = threadIdx.x / OUTPUTS;
    i64 o = (i64)blockIdx.x * OUTPUTS + threadIdx.x % OUTPUTS;
    float low = 0;
    float high = 0;
    bool inside = o < outputs;
    for (int i = 0; inside && i < inputs; i++) {
        float w = wt[i * wtStride + o];
        low = smaller(w, low);
        high = larger(w, high);
    }
    fit.range(low, high);
    int best = 0;
    if (clipSearch) {
        float unit = quotient(1, sub(high, low));
        unit = unit > __uint_as_float(0x7f7fffffu) ? __uint_as_float(0x7f7fffffu) : unit;
        float least = infinity();
        for (int step = searcher; inside && step < CLIP_STEPS; step += SEARCHERS) {
            float p = (float)(1 - step / 100.0);
            float scale = fit.scale(mul(p, low), mul(p, high));
            int zero = fit.zero(mul(p, low), scale);
            float error = 0;
            for (int i = 0; i < inputs; i++) {
                float w = wt[i * wtStride + o];
                float rounded = mul(scale, steps(w, scale, zero, fit.maxCode));
                error = add(error, power(mul(sub(w, rounded), unit)));
            }
            if (error < least) {
                least = error;
                best = step;
            }
        }
        errors[threadIdx.x] = least;
        steps_[threadIdx.x] = best;
    }
    __syncthreads();
    if (searcher == 0 && inside) {
        // The smallest error; of equal ones the first step.
        for (int other = 1; clipSearch && other < SEARCHERS; other++) {
            int at = other * OUTPUTS + threadIdx.x;
            float mine = errors[threadIdx.x];
            if (errors[at] < mine || (errors[at] == mine && mine < infinity() && steps_[at] < steps_[threadIdx.x])) {
                errors[threadIdx.x] = errors[at];
                steps_[threadIdx.x] = steps_[at];
            }
        }
        best = clipSearch ? steps_[threadIdx.x] : 0;
        float p = (float)(1 - best / 100.0);
        low = best == 0 ? low : mul(p, low);
        high = best == 0 ? high : mul(p, high);
        float scale = fit.scale(low, high);
        scales[o] = scale;
        zeros[o] = fit.zero(low, scale);
    }
}
