// QuantOps.descendCodes: a sweep of coordinate descent over up to 128 inputs of many outputs in one launch. The layout is that
// of solve_block: eight neighbouring lanes share one output, lane l with the inputs l, l + 8, ... in registers, so that each
// gradient collects the moves one by one in the order of the inputs.
#include "grid.h"

#define DESCENT_THREADS 256
#define LANES 8
#define OUTPUTS (DESCENT_THREADS / LANES)
#define MOST_INPUTS 128
#define SLOTS (MOST_INPUTS / LANES)

// h F32 [inputs, inputs], never read below its diagonal; gradient F32 [inputs, outputs]; scales, zeros [G, outputs]; groupOf
// [inputs]; codes U8 and errors F32 [inputs, outputs] in and out. Inputs in [1, 128].
KERNEL(DESCENT_THREADS) descend_codes(int maxCode, const float* h, i64 hStride, const float* gradient,
                                      i64 gradientStride, const float* scales, i64 scalesStride, const int* zeros,
                                      i64 zerosStride, const int* groupOf, int inputs, u8* codes, i64 codesStride,
                                      float* errors, i64 errorsStride, i64 outputs) {
    SHARED(float, rows, LANES * MOST_INPUTS);  // of h, those of one slot
    int lane = threadIdx.x % LANES;
    i64 output = (i64)blockIdx.x * OUTPUTS + threadIdx.x / LANES;
    bool inside = output < outputs;
    // Every lane stays for the barriers; those without an output repeat the last one and write nothing.
    i64 o = inside ? output : outputs - 1;
    float g[SLOTS];
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        i64 i = s * LANES + lane;
        g[s] = i < inputs ? gradient[i * gradientStride + o] : 0.0f;
    }
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        if (s * LANES >= inputs) {
            break;
        }
        i64 mine = s * LANES + lane;
        // Each lane has its own input's code and grid, and shares them when it is that input's turn.
        i64 group = mine < inputs ? groupOf[mine] : 0;
        float scale = scales[group * scalesStride + o];
        int zero = zeros[group * zerosStride + o];
        int code = mine < inputs ? codes[mine * codesStride + o] : zero;
        float error = mine < inputs ? errors[mine * errorsStride + o] : 0.0f;
        __syncthreads();
        for (int at = threadIdx.x; at < LANES * MOST_INPUTS; at += DESCENT_THREADS) {
            i64 i = s * LANES + at / MOST_INPUTS;
            i64 j = at % MOST_INPUTS;
            rows[at] = i < inputs && j < inputs ? h[i * hStride + j] : 0.0f;
        }
        __syncthreads();
        for (int l = 0; l < LANES && s * LANES + l < inputs; l++) {
            float pivot = rows[l * MOST_INPUTS + s * LANES + l];
            // Only the lane whose turn it is finds the move; the others apply it.
            float move = 0;
            if (lane == l) {
                float value = value_of(code, scale, zero);
                float target = sub(value, quotient(g[s], pivot));
                int best = code_of(target, scale, zero, maxCode);
                float step = sub(value_of(best, scale, zero), value);
                bool better = mul(step, add(add(g[s], g[s]), mul(pivot, step))) < 0;
                if (target == target && better) {
                    move = step;
                    code = best;
                    error = add(error, step);
                }
            }
            move = shuffle(move, l, LANES);
            #pragma unroll
            for (int t = s; t < SLOTS; t++) {
                float updated = fmaf(rows[l * MOST_INPUTS + t * LANES + lane], move, g[t]);
                g[t] = t > s || lane > l ? updated : g[t];
            }
        }
        if (inside && mine < inputs) {
            codes[mine * codesStride + o] = (u8)code;
            errors[mine * errorsStride + o] = error;
        }
    }
}
