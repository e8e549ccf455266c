// MatrixOps.linear and linears in fp16/bf16 on the matrix units with waves of 32, for up to 8 rows: bound by reading the weights. A block
// takes 32 outputs of one of the linears, and its waves take runs of 32 inputs in turn; their sums meet in shared memory and are added in
// order, so that a row's result does not depend on the others. A lane has 8 neighbouring inputs of its outputs and of its row of x: a sum
// does not depend on the order in which inputs are multiplied. It copies the weights that it will multiply to its own place in shared
// memory, a run ahead, so that reads are on their way all the time without taking registers.
#include "matrix_units.h"

#if MATRIX_UNITS && ROWS_LAYOUT

#define WAVES 16
#define RUN 32
#define OUTPUTS 32
#define OUTPUT_TILES 2
#define TILE_ROWS 8
#define TILE_PART 4
// What a lane copies for a run: 8 inputs of each of its outputs.
#define PIECES (2 * OUTPUT_TILES)
#define PIECE_WORDS (4 * GPU_WAVE)
#define PITCH (OUTPUTS + 1)

struct alignas(16) Eight {
    u32 pair[4];
};

// One of up to three linears of the same inputs; of an absent one outputs is 0.
struct Linear {
    const u16* w;
    i64 wStride;
    int outputs;
    const float* bias;
    float* y;
    i64 yStride;
};

template <int TYPE>
DEVICE void multiply(const u16* x, i64 xStride, int rows, int inputs, float beta, const Linear& linear, int block) {
    constexpr int SUMS = WAVES * TILE_ROWS * PITCH;
    constexpr int RING = WAVES * PIECES * PIECE_WORDS;
    SHARED(u32, memory, RING > SUMS ? RING : SUMS);
    int wave = threadIdx.x / GPU_WAVE;
    int lane = threadIdx.x % GPU_WAVE;
    int quarter = lane % 4;
    int across = lane / 4;
    int left = block * OUTPUTS;
    const u16* own[PIECES];
    #pragma unroll
    for (int p = 0; p < PIECES; p++) {
        int output = left + 8 * p + across;
        own[p] = linear.w + (output < linear.outputs ? output : linear.outputs - 1) * linear.wStride + 8 * quarter;
    }
    const u16* from = x + (across < rows ? across : rows - 1) * xStride + 8 * quarter;
    int runs = inputs / RUN;
    u32* place = &memory[wave * PIECES * PIECE_WORDS + 4 * lane];
    auto send = [&](int run) {
        if (run < runs) {
            #pragma unroll
            for (int p = 0; p < PIECES; p++) {
                copy_line(place + p * PIECE_WORDS, own[p] + run * RUN);
            }
        }
    };
    send(wave);
    float sum[OUTPUT_TILES][TILE_PART];
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int c = 0; c < TILE_PART; c++) {
            sum[t][c] = 0;
        }
    }
    #pragma unroll 1
    for (int run = wave; run < runs; run += WAVES) {
        Eight in = *(const Eight*)(from + run * RUN);
        await_copies();
        Eight weights[PIECES];
        #pragma unroll
        for (int p = 0; p < PIECES; p++) {
            weights[p] = *(const Eight*)(place + p * PIECE_WORDS);
        }
        send(run + WAVES);
        #pragma unroll
        for (int s = 0; s < 2; s++) {
            #pragma unroll
            for (int t = 0; t < OUTPUT_TILES; t++) {
                const Eight& upper = weights[2 * t];
                const Eight& lower = weights[2 * t + 1];
                Operand factor = {{upper.pair[2 * s], lower.pair[2 * s], upper.pair[2 * s + 1], lower.pair[2 * s + 1]}};
                multiply_8<TYPE>(sum[t], factor, in.pair[2 * s], in.pair[2 * s + 1]);
            }
        }
    }
    float* sums = (float*)&memory[0];
    // Other waves may still read what they copied.
    __syncthreads();
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int c = 0; c < TILE_PART; c++) {
            int row = 2 * quarter + c % 2;
            sums[(wave * TILE_ROWS + row) * PITCH + 16 * t + c / 2 * 8 + across] = sum[t][c];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < rows * OUTPUTS; i += WAVES * GPU_WAVE) {
        int row = i / OUTPUTS;
        int o = left + i % OUTPUTS;
        if (o < linear.outputs) {
            float total = linear.bias == 0 ? 0.0f : linear.bias[o];
            float* y = linear.y + row * linear.yStride + o;
            total = beta == 0 ? total : fmaf(beta, *y, total);
            #pragma unroll
            for (int w = 0; w < WAVES; w++) {
                total += sums[(w * TILE_ROWS + row) * PITCH + i % OUTPUTS];
            }
            *y = total;
        }
    }
}

DEVICE int blocks_of(int outputs) { return (outputs + OUTPUTS - 1) / OUTPUTS; }

// y F32 [rows, outputs] = x [rows, inputs] w [outputs, inputs]^T + bias + beta y, of each linear. The grid is the sum of ceil(outputs / 32).
// Rows of x and w begin at multiples of 16 bytes; inputs is a multiple of 32. A bias [outputs] may be null; beta 0 never reads y.
#define LINEAR(n) const u16 *w##n, i64 wStride##n, int outputs##n, const float *bias##n, float *y##n, i64 yStride##n
#define VALUES(n) {w##n, wStride##n, outputs##n, bias##n, y##n, yStride##n}
#define KERNEL_OF(name, type)                                                                                             \
    KERNEL_BESIDE(WAVES * GPU_WAVE, 2) linears_##name(const u16* x, i64 xStride, int rows, int inputs, float beta, LINEAR(0), \
                                                      LINEAR(1), LINEAR(2)) {                                             \
        Linear linear = VALUES(0);                                                                                        \
        int block = blockIdx.x;                                                                                           \
        if (block >= blocks_of(outputs0)) {                                                                               \
            block -= blocks_of(outputs0);                                                                                 \
            linear = VALUES(1);                                                                                           \
            if (block >= blocks_of(outputs1)) {                                                                           \
                block -= blocks_of(outputs1);                                                                             \
                linear = VALUES(2);                                                                                       \
            }                                                                                                             \
        }                                                                                                                 \
        multiply<type>(x, xStride, rows, inputs, beta, linear, block);                                                    \
    }
KERNEL_OF(f16, F16)
KERNEL_OF(bf16, BF16)

#endif
