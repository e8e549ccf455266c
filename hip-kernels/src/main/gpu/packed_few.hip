// QuantOps.linearPacked in F16 on the matrix units with waves of 32, for up to 16 rows, from the weights as they are stored:
// bound by reading them. As in packed_units.hip, the words of four neighbouring outputs, 16 bytes, are a lane's share of the tiles of
// 16 outputs. A block takes 32 outputs, and its waves take runs of 128 inputs in turn: many waves keep many reads on the way. Their
// sums meet in shared memory and are added in order, so that one launch gives y. Up to 8 rows, and from 9 to 16, the split of sums
// depends only on the layer: a row's result does not depend on the others. Codes are multiplied as their bits lie, and a tile of ones gives
// the sums of the inputs, times which zero points are subtracted: instructions, not bytes, were what a block waited for.
#include "packed_linears.h"

#if MATRIX_UNITS && ROWS_LAYOUT

// Waves of a block, for one tile of 8 rows and for two.
#define WAVES(tiles) ((tiles) == 1 ? 16 : 8)
// Inputs that a wave takes at a time, and blocks of 32 of them.
#define RUN 128
#define BLOCKS (RUN / PACKED)
#define PITCH (OUTPUTS + 1)

// What a wave reads of a run of inputs: the words, zero points and scales of four outputs. No read depends on a condition, since
// branches would keep reads from being on the way together: those beyond the end are of the last ones that are there, and are
// multiplied by 0.
template <int BITS, int TILES, int GROUPS> struct Share {
    // Runs are complete, and of one group.
    static constexpr bool WHOLE = GROUPS == 1;
    static constexpr int LOADS = BITS / 4;
    Words words[BLOCKS][LOADS];
    u32 zeros[GROUPS];
    const u16* scales[GROUPS];

    // @param own the first of four outputs that are there
    // @param groupShift groups are 2^groupShift runs, where they are whole
    __device__ __forceinline__ void load(const Packed& layer, int groupSize, int groupShift, int first, int own) {
        int blocks = WHOLE ? BLOCKS : ((int)layer.inputs - first) / PACKED;
        #pragma unroll
        for (int b = 0; b < BLOCKS; b++) {
            int there = first / PACKED + (b < blocks ? b : blocks - 1);
            #pragma unroll
            for (int l = 0; l < LOADS; l++) {
                int row = there * BITS + quarter() * LOADS + l;
                words[b][l] = read_once(layer.qweight + (i64)row * (int)layer.qweightStride + own);
            }
        }
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            int block = g * (BLOCKS / GROUPS);
            int there = first + (block < blocks ? block : blocks - 1) * PACKED;
            i64 group = WHOLE ? first / RUN >> groupShift : (u32)there / (u32)groupSize;
            zeros[g] = four_zeros<BITS>(layer, group, own);
            scales[g] = layer.scales + group * layer.scalesStride + own;
        }
    }

    __device__ __forceinline__ void multiply(const Packed& layer, const u16* x, i64 xStride, int rows, int first,
                                             float (&sum)[OUTPUT_TILES][TILES][TILE_PART]) const {
        int blocks = WHOLE ? BLOCKS : ((int)layer.inputs - first) / PACKED;
        const u16* from[TILES];
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            int row = n * TILE_ROWS + across_lane();
            from[n] = x + (row < rows ? row : rows - 1) * xStride + first + 8 * quarter();
        }
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            float ofGroup[OUTPUT_TILES][TILES][TILE_PART];
            float ones[1][TILES][TILE_PART];
            clear<OUTPUT_TILES, TILES>(ofGroup);
            clear<1, TILES>(ones);
            #pragma unroll
            for (int i = 0; i < BLOCKS / GROUPS; i++) {
                int b = g * (BLOCKS / GROUPS) + i;
                Words factors[TILES];
                #pragma unroll
                for (int n = 0; n < TILES; n++) {
                    factors[n] = *(const Words*)(from[n] + (b < blocks ? b : blocks - 1) * PACKED);
                    if (b >= blocks) {
                        factors[n] = Words{{0, 0, 0, 0}};
                    }
                }
                #pragma unroll
                for (int s = 0; s < 2; s++) {
                    u32 in[TILES][2];
                    Operand unit = {{RAW_ONES, RAW_ONES, RAW_ONES, RAW_ONES}};
                    #pragma unroll
                    for (int n = 0; n < TILES; n++) {
                        input_pairs<BITS>(factors[n], s, in[n]);
                        multiply_8<F16>(ones[0][n], unit, in[n][0], in[n][1]);
                    }
                    #pragma unroll
                    for (int t = 0; t < OUTPUT_TILES; t++) {
                        u32 upper[2];
                        u32 lower[2];
                        const Words& first = words[b][0];
                        const Words& second = words[b][LOADS - 1];
                        raw_codes<BITS>(first.at[2 * t], second.at[2 * t], s, upper);
                        raw_codes<BITS>(first.at[2 * t + 1], second.at[2 * t + 1], s, lower);
                        Operand weights = {{upper[0], lower[0], upper[1], lower[1]}};
                        #pragma unroll
                        for (int n = 0; n < TILES; n++) {
                            multiply_8<F16>(ofGroup[t][n], weights, in[n][0], in[n][1]);
                        }
                    }
                }
            }
            Pair pairs = *(const Pair*)scales[g];
            #pragma unroll
            for (int t = 0; t < OUTPUT_TILES; t++) {
                #pragma unroll
                for (int c = 0; c < TILE_PART; c++) {
                    u32 pair = pairs.at[t];
                    float scale = from_f16((u16)(c < 2 ? pair : pair >> 16));
                    float zero = (float)zero_point<BITS>(layer, zeros[g], 2 * t + c / 2);
                    #pragma unroll
                    for (int n = 0; n < TILES; n++) {
                        sum[t][n][c] = fmaf(scale, fmaf(-zero, ones[0][n][c], ofGroup[t][n][c]), sum[t][n][c]);
                    }
                }
            }
        }
    }
};

template <int BITS, int TILES, int GROUPS>
DEVICE void multiply(const Packed& layer, int block, int groupSize, int groupShift, const u16* x, i64 xStride, int rows,
                     const float* bias, float beta, float* y, i64 yStride) {
    SHARED(float, sums, WAVES(TILES) * TILES * TILE_ROWS * PITCH);
    typedef Share<BITS, TILES, GROUPS> Own;
    int wave = threadIdx.x / GPU_WAVE;
    int left = block * OUTPUTS;
    int own = left + 4 * across_lane();
    own = own < (int)layer.outputs ? own : (int)layer.outputs - 4;
    int inputs = (int)layer.inputs;
    float sum[OUTPUT_TILES][TILES][TILE_PART];
    clear<OUTPUT_TILES, TILES>(sum);
    #pragma unroll 1
    for (int first = wave * RUN; first < inputs; first += WAVES(TILES) * RUN) {
        Own share;
        // Addresses are recomputed: kept from one run to the next, they would take registers that many waves do not have.
        share.load(layer, groupSize, groupShift, per_thread(first), per_thread(own));
        share.multiply(layer, x, xStride, rows, first, sum);
    }
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                int row = n * TILE_ROWS + 2 * quarter() + (c & 1);
                sums[(wave * TILES * TILE_ROWS + row) * PITCH + 4 * across_lane() + 2 * t + (c >> 1)] = sum[t][n][c];
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < rows * OUTPUTS; i += WAVES(TILES) * GPU_WAVE) {
        int row = i / OUTPUTS;
        int o = left + i % OUTPUTS;
        if (o < (int)layer.outputs) {
            float before = bias == 0 ? 0.0f : bias[o];
            before = beta == 0 ? before : fmaf(beta, y[row * yStride + o], before);
            float total = 0;
            #pragma unroll
            for (int w = 0; w < WAVES(TILES); w++) {
                total += sums[(w * TILES * TILE_ROWS + row) * PITCH + i % OUTPUTS];
            }
            y[row * yStride + o] = fmaf(total, RAW_UNIT, before);
        }
    }
}

#define ARGUMENTS int groupSize, int groupShift, const u16 *x, i64 xStride, int rows, i64 inputs, float beta, LINEAR(0), LINEAR(1), LINEAR(2)

DEVICE int blocks_of(i64 outputs) { return ((int)outputs + OUTPUTS - 1) / OUTPUTS; }

// The grid is the sum over the linears of ceil(outputs / 32). Rows of qweight and of x begin at multiples of 16 bytes, rows of scales
// at multiples of 8; inputs of a group are neighbours, a multiple of 32. For the kernels called wide, inputs are a multiple of 128, and
// those of a group 128 times a power of two. A bias [outputs] may be null; beta 0 never reads y.
// A copy of the code for each linear: chosen arguments would take registers, of which many waves have few.
#define COMPUTE(n)                                                                                                               \
    return multiply<BITS, TILES, GROUPS>({zeroOffset##n, qweight##n, qweightStride##n, qzeros##n, qzerosStride##n, scales##n,     \
                                          scalesStride##n, 0, inputs, outputs##n},                                               \
                                         block, groupSize, groupShift, x, xStride, rows, bias##n, beta, y##n, yStride##n)

template <int BITS, int TILES, int GROUPS> DEVICE void multiply_one(ARGUMENTS) {
    int block = blockIdx.x;
    if (block < blocks_of(outputs0)) {
        COMPUTE(0);
    }
    block -= blocks_of(outputs0);
    if (block < blocks_of(outputs1)) {
        COMPUTE(1);
    }
    block -= blocks_of(outputs1);
    COMPUTE(2);
}

#define KERNEL_OF(name, width, tiles, groups, beside)                                                                       \
    KERNEL_BESIDE(WAVES(tiles) * GPU_WAVE, beside) name##width##_tiles##tiles(ARGUMENTS) {                                  \
        multiply_one<width, tiles, groups>(groupSize, groupShift, x, xStride, rows, inputs, beta, NAMES(0), NAMES(1), NAMES(2));         \
    }
#define KERNELS(name, groups, beside)     \
    KERNEL_OF(name, 4, 1, groups, beside) \
    KERNEL_OF(name, 4, 2, groups, 2)      \
    KERNEL_OF(name, 8, 1, groups, 1)      \
    KERNEL_OF(name, 8, 2, groups, 1)
KERNELS(wide, 1, 2)
KERNELS(bits, BLOCKS, 1)

#endif
