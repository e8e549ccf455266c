// QuantOps.linearPacked for many rows: a block of 256 threads computes 64 rows x 128 outputs, a thread 8 x 4 of them in
// registers, from 32 inputs at a time, whose weights are dequantized into shared memory. Blocks may share the inputs; their
// parts are then summed by packed.hip.
#include "packed.h"

#define MATRIX_THREADS 256
#define ROWS 64
#define OUTPUTS 128
// Inputs that a thread dequantizes, of one output.
#define RUN (PACKED * OUTPUTS / MATRIX_THREADS)
// Padded, so that storing a transposed slice of x meets in fewer banks.
#define PITCH (ROWS + 4)

// The grid of the last group of a thread's output.
struct Current {
    int group;
    float zero;
    float scale;
};

// weights[i][column] of the inputs FROM .. FROM + RUN of a block for output o.
template <int BITS, int FROM, class Tile>
DEVICE void dequantize_run(const Packed& layer, i64 block, i64 o, int column, Current* current, Tile weights) {
    const int low = FROM * BITS / 32;
    const int high = ((FROM + RUN) * BITS - 1) / 32;
    u32 words[high + 1];
    #pragma unroll
    for (int w = 0; w <= high; w++) {
        words[w] = w >= low ? layer.qweight[(block * BITS + w) * layer.qweightStride + o] : 0;
    }
    #pragma unroll
    for (int i = FROM; i < FROM + RUN; i++) {
        int group = layer.groupOf[block * PACKED + i];
        if (group != current->group) {
            *current = {group, code_base(layer.zero(group, o, BITS)), layer.scale(group, o)};
        }
        weights[i * OUTPUTS + column] = mul(current->scale, code_float<BITS>(words, i) - current->zero);
    }
}

template <int BITS>
DEVICE void multiply(const Packed& layer, const float* x, i64 xStride, i64 rows, const float* bias, float* y, i64 yStride,
                     i64 part) {
    SHARED(float, weights, PACKED * OUTPUTS);
    SHARED(float, inputs, PACKED * PITCH);
    int thread = threadIdx.x;
    int tx = thread % 32;
    int ty = thread / 32;
    i64 top = (i64)blockIdx.y * ROWS;
    i64 left = (i64)blockIdx.x * OUTPUTS;
    int column = thread % OUTPUTS;
    Current current = {-1, 0, 0};
    float sum[8][4];
    #pragma unroll
    for (int r = 0; r < 8; r++) {
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            sum[r][c] = 0;
        }
    }
    for (i64 block = blockIdx.z; block * PACKED < layer.inputs; block += gridDim.z) {
        __syncthreads();
        #pragma unroll
        for (int i = 0; i < ROWS * PACKED / MATRIX_THREADS; i++) {
            int row = ty + i * (MATRIX_THREADS / 32);
            inputs[tx * PITCH + row] = top + row < rows ? x[(top + row) * xStride + block * PACKED + tx] : 0.0f;
        }
        if (left + column < layer.outputs) {
            // Uniform over a wave.
            if (thread < OUTPUTS) {
                dequantize_run<BITS, 0>(layer, block, left + column, column, &current, weights);
            } else {
                dequantize_run<BITS, RUN>(layer, block, left + column, column, &current, weights);
            }
        } else {
            for (int i = thread / OUTPUTS; i < PACKED; i += MATRIX_THREADS / OUTPUTS) {
                weights[i * OUTPUTS + column] = 0;
            }
        }
        __syncthreads();
        #pragma unroll 4
        for (int i = 0; i < PACKED; i++) {
            Four w = four(&weights[i * OUTPUTS + tx * 4]);
            Four in[2] = {four(&inputs[i * PITCH + ty * 8]), four(&inputs[i * PITCH + ty * 8 + 4])};
            #pragma unroll
            for (int r = 0; r < 8; r++) {
                #pragma unroll
                for (int c = 0; c < 4; c++) {
                    sum[r][c] = fmaf(in[r / 4].at[r % 4], w.at[c], sum[r][c]);
                }
            }
        }
    }
    #pragma unroll
    for (int r = 0; r < 8; r++) {
        i64 row = top + ty * 8 + r;
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            i64 o = left + tx * 4 + c;
            if (row < rows && o < layer.outputs) {
                y[blockIdx.z * part + row * yStride + o] = sum[r][c] + (bias == 0 ? 0.0f : bias[o]);
            }
        }
    }
}

// The grid is ceil(outputs / 128) x ceil(rows / 64) x parts. bias [outputs] may be null.
#define KERNEL_OF(width)                                                                                            \
    KERNEL(MATRIX_THREADS) bits##width(PACKED_ARGUMENTS, const float* x, i64 xStride, i64 rows, const float* bias, \
                                       float* y, i64 yStride, i64 part) {                                          \
        multiply<width>(PACKED_LAYER, x, xStride, rows, bias, y, yStride, part);                                    \
    }

KERNEL_OF(2)
KERNEL_OF(3)
KERNEL_OF(4)
KERNEL_OF(8)
