// QuantOps.solveBlock: GPTQ's inner loop (GPTQ paper, algorithm 1) over up to 128 inputs of many outputs in one launch.
// Outputs are independent of each other. Eight neighbouring lanes share one output, lane l with the inputs l, l + 8, ...
// in registers: each weight still collects its errors one by one in the order of the inputs, so the bits are those of a
// single thread, and the chain of dependent steps is as short as it can be.
#include "grid.h"

#define SOLVE_THREADS 256
#define LANES 8
#define OUTPUTS (SOLVE_THREADS / LANES)
#define MOST_INPUTS 128
#define SLOTS (MOST_INPUTS / LANES)

// wt F32 [inputs, outputs] in and out; u F32 [inputs, inputs], never read below its diagonal; scales, zeros [G, outputs];
// groupOf [inputs], null where all inputs use row 0; codes U8 and errors F32 [inputs, outputs]. Inputs in [1, 128].
KERNEL(SOLVE_THREADS) solve_block(int maxCode, float* wt, i64 wtStride, const float* u, i64 uStride,
                                  const float* scales, i64 scalesStride, const int* zeros, i64 zerosStride,
                                  const int* groupOf, int inputs, u8* codes, i64 codesStride, float* errors,
                                  i64 errorsStride, i64 outputs) {
    SHARED(float, rows, LANES * MOST_INPUTS);  // of u, those of one slot
    int lane = threadIdx.x % LANES;
    i64 output = (i64)blockIdx.x * OUTPUTS + threadIdx.x / LANES;
    bool inside = output < outputs;
    // Every lane stays for the barriers; those without an output repeat the last one and write nothing.
    i64 o = inside ? output : outputs - 1;
    float w[SLOTS];
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        i64 i = s * LANES + lane;
        w[s] = i < inputs ? wt[i * wtStride + o] : 0.0f;
    }
    i64 group = groupOf == 0 ? 0 : groupOf[0];
    float scale = scales[group * scalesStride + o];
    int zero = zeros[group * zerosStride + o];
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        if (s * LANES >= inputs) {
            break;
        }
        __syncthreads();
        for (int at = threadIdx.x; at < LANES * MOST_INPUTS; at += SOLVE_THREADS) {
            i64 i = s * LANES + at / MOST_INPUTS;
            i64 j = at % MOST_INPUTS;
            rows[at] = i < inputs && j < inputs ? u[i * uStride + j] : 0.0f;
        }
        __syncthreads();
        int code = 0;
        float error = 0;
        for (int l = 0; l < LANES && s * LANES + l < inputs; l++) {
            int i = s * LANES + l;
            // The next input's grid is loaded while this one is computed.
            i64 next = groupOf == 0 ? 0 : groupOf[i + 1 < inputs ? i + 1 : i];
            float nextScale = scales[next * scalesStride + o];
            int nextZero = zeros[next * zerosStride + o];
            float weight = shuffle(w[s], l, LANES);
            int q = code_of(weight, scale, zero, maxCode);
            float e = quotient(sub(weight, value_of(q, scale, zero)), rows[l * MOST_INPUTS + i]);
            if (lane == l) {
                code = q;
                error = e;
            }
            #pragma unroll
            for (int t = s; t < SLOTS; t++) {
                float updated = fmaf(-rows[l * MOST_INPUTS + t * LANES + lane], e, w[t]);
                w[t] = t > s || lane > l ? updated : w[t];
            }
            scale = nextScale;
            zero = nextZero;
        }
        i64 mine = s * LANES + lane;
        if (inside && mine < inputs) {
            codes[mine * codesStride + o] = (u8)code;
            errors[mine * errorsStride + o] = error;
            wt[mine * wtStride + o] = w[s];
        }
    }
}

// The errors of a solved part of a block reach its later rows: wt[j] -= u[i, j] errors[i] for i in [0, solved) in order.
// wt is the later rows, u [solved, rows of wt] the part beside the solved rows' diagonal part.
KERNEL(256) solve_update(float* wt, i64 wtStride, const float* u, i64 uStride, const float* errors, i64 errorsStride,
                         int solved, i64 outputs) {
    FOR_CHUNK(j, o, outputs) {
        float w = wt[j * wtStride + o];
        for (int i = 0; i < solved; i++) {
            w = fmaf(-u[i * uStride + j], errors[i * errorsStride + o], w);
        }
        wt[j * wtStride + o] = w;
    }
}
