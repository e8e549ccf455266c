// QuantOps.linearPacked in fp16/bf16 on the matrix units, for 4 and 8 bits, from the weights as they are stored: of 32 inputs a
// quarter of the lanes takes 8 each, whose codes lie in one word, or two; since a sum over inputs does not depend on the order in
// which they are multiplied, the words of four neighbouring outputs, 16 bytes, are a lane's share of the tiles of 16 outputs
// without being moved. Codes become fp16 by their bits; zero points are subtracted exactly, and scales multiply sums in float32.
//
// A block takes 4 x OUTPUTS outputs and up to 8, 16, 32 or 64 rows. Its waves are 4 across the outputs and 2 along the inputs; blocks may share the
// inputs too, and are summed by packed.hip. The split of sums over waves depends only on the layer: a row's result does not depend
// on the others.
#include "packed.h"
#include "packed_pairs.h"

#define WAVES_ACROSS 4
#define WAVES_ALONG 2
#define UNIT_THREADS (WAVES_ACROSS * WAVES_ALONG * GPU_WAVE)
// Inputs that a wave takes at a time.
#define RUN 128

#if MATRIX_UNITS

#define OUTPUTS (ROWS_LAYOUT ? 32 : 64)
#define OUTPUT_TILES (OUTPUTS / 16)
#define TILE_ROWS (ROWS_LAYOUT ? 8 : 16)
#define TILE_PART 4

// The output of a wave's own that part c of a tile's sums belongs to, and its row.
DEVICE int sum_output(int tile, int c) {
    return ROWS_LAYOUT ? 4 * across_lane() + 2 * tile + (c >> 1) : 4 * (4 * quarter() + c) + tile;
}
DEVICE int sum_row(int c) { return ROWS_LAYOUT ? 2 * quarter() + (c & 1) : across_lane(); }

template <int BITS, int TILES>
DEVICE void multiply(const Packed& layer, int groupSize, const u16* x, i64 xStride, i64 rows, const float* bias, float* y,
                     i64 yStride, i64 part) {
    SHARED(float, other, WAVES_ACROSS * OUTPUTS * TILES * TILE_ROWS);
    constexpr int LOADS = BITS / 4;
    int wave = threadIdx.x / GPU_WAVE;
    int waveAcross = wave % WAVES_ACROSS;
    int waveAlong = wave / WAVES_ACROSS;
    i64 left = ((i64)blockIdx.x * WAVES_ACROSS + waveAcross) * OUTPUTS;
    i64 own = left + 4 * across_lane();
    i64 top = (i64)blockIdx.z * TILES * TILE_ROWS;
    bool inside = own < layer.outputs;
    float sum[OUTPUT_TILES][TILES][TILE_PART];
    float ofGroup[OUTPUT_TILES][TILES][TILE_PART];
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                sum[t][n][c] = 0;
                ofGroup[t][n][c] = 0;
            }
        }
    }
    i64 step = (i64)gridDim.y * WAVES_ALONG * RUN;
    #pragma unroll 1
    for (i64 first = ((i64)blockIdx.y * WAVES_ALONG + waveAlong) * RUN; first < layer.inputs; first += step) {
        Words words[RUN / 32][LOADS];
        #pragma unroll
        for (int b = 0; b < RUN / 32; b++) {
            #pragma unroll
            for (int l = 0; l < LOADS; l++) {
                i64 row = (first / 32 + b) * BITS + quarter() * LOADS + l;
                bool there = inside && first + b * 32 < layer.inputs;
                words[b][l] = there ? *(const Words*)(layer.qweight + row * layer.qweightStride + own) : Words{{0, 0, 0, 0}};
            }
        }
        #pragma unroll
        for (int b = 0; b < RUN / 32; b++) {
            i64 block = first + b * 32;
            if (block >= layer.inputs) {
                break;
            }
            i64 group = block / groupSize;
            u32 base[4];
            #pragma unroll
            for (int j = 0; j < 4; j++) {
                u32 zero = inside ? (u32)layer.zero(group, own + j, BITS) : 0;
                base[j] = (0x6400u | zero) * 0x10001u;
            }
            #pragma unroll
            for (int n = 0; n < TILES; n++) {
                i64 row = top + n * TILE_ROWS + across_lane();
                Words inputs =
                    row < rows ? *(const Words*)(x + row * xStride + block + 8 * quarter()) : Words{{0, 0, 0, 0}};
                #pragma unroll
                for (int s = 0; s < 2; s++) {
                    u32 in[2];
                    input_pairs<BITS>(inputs, s, in);
                    #pragma unroll
                    for (int t = 0; t < OUTPUT_TILES; t++) {
#if ROWS_LAYOUT
                        u32 upper[2];
                        u32 lower[2];
                        weight_pairs<BITS>(words[b][0].at[2 * t], words[b][LOADS - 1].at[2 * t], s, base[2 * t], upper);
                        weight_pairs<BITS>(words[b][0].at[2 * t + 1], words[b][LOADS - 1].at[2 * t + 1], s, base[2 * t + 1],
                                           lower);
                        Operand weights = {{upper[0], lower[0], upper[1], lower[1]}};
                        multiply_8<F16>(ofGroup[t][n], weights, in[0], in[1]);
#else
                        u32 pair[2];
                        weight_pairs<BITS>(words[b][0].at[t], words[b][LOADS - 1].at[t], s, base[t], pair);
                        Operand weights = {{pair[0], pair[1]}};
                        Operand factors = {{in[0], in[1]}};
                        multiply_16<F16>(ofGroup[t][n], weights, factors);
#endif
                    }
                }
            }
            bool last = b == RUN / 32 - 1 || block + 32 >= layer.inputs || (block + 32) / groupSize != group;
            if (last) {
                #pragma unroll
                for (int t = 0; t < OUTPUT_TILES; t++) {
                    #pragma unroll
                    for (int c = 0; c < TILE_PART; c++) {
                        i64 o = left + per_thread(sum_output(t, c));  // recomputed: kept, they would take all scalar registers
                        float scale = o < layer.outputs ? layer.scale(group, o) : 0.0f;
                        #pragma unroll
                        for (int n = 0; n < TILES; n++) {
                            sum[t][n][c] = fmaf(scale, ofGroup[t][n][c], sum[t][n][c]);
                            ofGroup[t][n][c] = 0;
                        }
                    }
                }
            }
        }
    }
    // The second wave along the inputs hands its sums to the first.
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                int at = (((t * TILES + n) * TILE_PART + c) * WAVES_ACROSS + waveAcross) * GPU_WAVE + lane_of_wave();
                if (waveAlong == 1) {
                    other[at] = sum[t][n][c];
                }
            }
        }
    }
    __syncthreads();
    if (waveAlong == 1) {
        return;
    }
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                int at = (((t * TILES + n) * TILE_PART + c) * WAVES_ACROSS + waveAcross) * GPU_WAVE + lane_of_wave();
                i64 o = left + sum_output(t, c);
                i64 row = top + n * TILE_ROWS + sum_row(c);
                if (o < layer.outputs && row < rows) {
                    y[blockIdx.y * part + row * yStride + o] =
                        sum[t][n][c] + other[at] + (bias == 0 ? 0.0f : bias[o]);
                }
            }
        }
    }
}

// The grid is ceil(outputs / (4 OUTPUTS)) x parts x ceil(rows / most). Rows of qweight and of x begin at multiples of 16 bytes;
// inputs of a group are neighbours, a multiple of 32. bias [outputs] may be null.
#define KERNEL_OF(width, tiles)                                                                                             \
    KERNEL(UNIT_THREADS) bits##width##_tiles##tiles(PACKED_ARGUMENTS, int groupSize, const u16* x, i64 xStride, i64 rows,  \
                                                   const float* bias, float* y, i64 yStride, i64 part) {                   \
        multiply<width, tiles>(PACKED_LAYER, groupSize, x, xStride, rows, bias, y, yStride, part);                          \
    }
#define KERNELS(width)  \
    KERNEL_OF(width, 1) \
    KERNEL_OF(width, 2) \
    KERNEL_OF(width, 4)
KERNELS(4)
KERNELS(8)
#if ROWS_LAYOUT
KERNEL_OF(4, 8)
KERNEL_OF(8, 8)
#endif

#endif
