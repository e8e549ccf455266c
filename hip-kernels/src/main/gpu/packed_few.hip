// QuantOps.linearPacked in F16 on the matrix units with waves of 32, for up to 16 rows, from the weights as they are stored:
// bound by reading them. As in packed_units.hip, the words of four neighbouring outputs, 16 bytes, are a lane's share of the tiles of
// 16 outputs. A block takes 32 outputs, and its waves take runs of 128 inputs in turn: many waves keep many reads on the way. Their
// sums meet in shared memory and are added in order, so that one launch gives y. Up to 8 rows, and from 9 to 16, the split of sums
// depends only on the layer: a row's result does not depend on the others.
#include "packed_pairs.h"

#if MATRIX_UNITS && ROWS_LAYOUT

// Waves of a block, for one tile of 8 rows and for two.
#define WAVES(tiles) ((tiles) == 1 ? 16 : 8)
// Inputs that a wave takes at a time, and blocks of 32 of them.
#define RUN 128
#define BLOCKS (RUN / PACKED)
#define OUTPUTS 32
#define OUTPUT_TILES 2
#define TILE_ROWS 8
#define TILE_PART 4
#define PITCH (OUTPUTS + 1)

// What a wave reads of a run of inputs: the words, zero points and scales of four outputs. No read depends on a condition, since
// branches would keep reads from being on the way together: those beyond the end are of the last ones that are there, and are
// multiplied by 0.
template <int BITS, int TILES, int GROUPS> struct Share {
    static constexpr int LOADS = BITS / 4;
    Words words[BLOCKS][LOADS];
    u32 zeros[GROUPS];
    const u16* scales[GROUPS];

    // @param own the first of four outputs that are there
    __device__ __forceinline__ void load(const Packed& layer, int groupSize, int first, int own) {
        int blocks = ((int)layer.inputs - first) / PACKED;
        #pragma unroll
        for (int b = 0; b < BLOCKS; b++) {
            int there = first / PACKED + (b < blocks ? b : blocks - 1);
            #pragma unroll
            for (int l = 0; l < LOADS; l++) {
                words[b][l] = read_once(layer.qweight + (there * BITS + quarter() * LOADS + l) * layer.qweightStride + own);
            }
        }
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            int block = g * (BLOCKS / GROUPS);
            i64 group = (u32)(first + (block < blocks ? block : blocks - 1) * PACKED) / (u32)groupSize;
            zeros[g] = four_zeros<BITS>(layer, group, own);
            scales[g] = layer.scales + group * layer.scalesStride + own;
        }
    }

    __device__ __forceinline__ void multiply(const Packed& layer, const u16* x, i64 xStride, int rows, int first,
                                             float (&sum)[OUTPUT_TILES][TILES][TILE_PART]) const {
        int blocks = ((int)layer.inputs - first) / PACKED;
        const u16* from[TILES];
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            int row = n * TILE_ROWS + across_lane();
            from[n] = x + (row < rows ? row : rows - 1) * xStride + first + 8 * quarter();
        }
        #pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            float ofGroup[OUTPUT_TILES][TILES][TILE_PART];
            #pragma unroll
            for (int t = 0; t < OUTPUT_TILES; t++) {
                #pragma unroll
                for (int n = 0; n < TILES; n++) {
                    #pragma unroll
                    for (int c = 0; c < TILE_PART; c++) {
                        ofGroup[t][n][c] = 0;
                    }
                }
            }
            u32 base[4];
            #pragma unroll
            for (int j = 0; j < 4; j++) {
                base[j] = zero_base<BITS>(layer, zeros[g], j);
            }
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
                    #pragma unroll
                    for (int t = 0; t < OUTPUT_TILES; t++) {
                        u32 upper[2];
                        u32 lower[2];
                        const Words& low = words[b][0];
                        const Words& high = words[b][LOADS - 1];
                        weight_pairs<BITS>(low.at[2 * t], high.at[2 * t], s, base[2 * t], upper);
                        weight_pairs<BITS>(low.at[2 * t + 1], high.at[2 * t + 1], s, base[2 * t + 1], lower);
                        Operand weights = {{upper[0], lower[0], upper[1], lower[1]}};
                        #pragma unroll
                        for (int n = 0; n < TILES; n++) {
                            u32 in[2];
                            input_pairs<BITS>(factors[n], s, in);
                            multiply_8<F16>(ofGroup[t][n], weights, in[0], in[1]);
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
                    #pragma unroll
                    for (int n = 0; n < TILES; n++) {
                        sum[t][n][c] = fmaf(scale, ofGroup[t][n][c], sum[t][n][c]);
                    }
                }
            }
        }
    }
};

template <int BITS, int TILES, int GROUPS>
DEVICE void multiply(const Packed& layer, int block, int groupSize, const u16* x, i64 xStride, int rows, const float* bias, float beta,
                     float* y, i64 yStride) {
    SHARED(float, sums, WAVES(TILES) * TILES * TILE_ROWS * PITCH);
    typedef Share<BITS, TILES, GROUPS> Own;
    int wave = threadIdx.x / GPU_WAVE;
    int left = block * OUTPUTS;
    int own = left + 4 * across_lane();
    own = own < (int)layer.outputs ? own : (int)layer.outputs - 4;
    int inputs = (int)layer.inputs;
    float sum[OUTPUT_TILES][TILES][TILE_PART];
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                sum[t][n][c] = 0;
            }
        }
    }
    #pragma unroll 1
    for (int first = wave * RUN; first < inputs; first += WAVES(TILES) * RUN) {
        Own share;
        // Addresses are recomputed: kept from one run to the next, they would take registers that many waves do not have.
        share.load(layer, groupSize, per_thread(first), per_thread(own));
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
            float total = bias == 0 ? 0.0f : bias[o];
            total = beta == 0 ? total : fmaf(beta, y[row * yStride + o], total);
            #pragma unroll 4
            for (int w = 0; w < WAVES(TILES); w++) {
                total += sums[(w * TILES * TILE_ROWS + row) * PITCH + i % OUTPUTS];
            }
            y[row * yStride + o] = total;
        }
    }
}

// One of up to three linears of the same inputs; of an absent one outputs is 0.
#define LINEAR(n) int zeroOffset##n, const u32 *qweight##n, i64 qweightStride##n, const u32 *qzeros##n, i64 qzerosStride##n,     \
                  const u16 *scales##n, i64 scalesStride##n, i64 outputs##n, const float *bias##n, float *y##n, i64 yStride##n
#define ARGUMENTS int groupSize, const u16 *x, i64 xStride, int rows, i64 inputs, float beta, LINEAR(0), LINEAR(1), LINEAR(2)

DEVICE int blocks_of(i64 outputs) { return ((int)outputs + OUTPUTS - 1) / OUTPUTS; }

// The grid is the sum over the linears of ceil(outputs / 32). Rows of qweight and of x begin at multiples of 16 bytes, rows of scales
// at multiples of 8; inputs of a group are neighbours, a multiple of 32, or of 128 for the kernels called wide. A bias [outputs] may be
// null; beta 0 never reads y.
// A copy of the code for each linear: chosen arguments would take registers, of which many waves have few.
#define COMPUTE(n)                                                                                                               \
    return multiply<BITS, TILES, GROUPS>({zeroOffset##n, qweight##n, qweightStride##n, qzeros##n, qzerosStride##n, scales##n,     \
                                          scalesStride##n, 0, inputs, outputs##n},                                               \
                                         block, groupSize, x, xStride, rows, bias##n, beta, y##n, yStride##n)

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

#define NAMES(n) zeroOffset##n, qweight##n, qweightStride##n, qzeros##n, qzerosStride##n, scales##n, scalesStride##n, outputs##n, \
                 bias##n, y##n, yStride##n
#define KERNEL_OF(name, width, tiles, groups, beside)                                                                       \
    KERNEL_BESIDE(WAVES(tiles) * GPU_WAVE, beside) name##width##_tiles##tiles(ARGUMENTS) {                                  \
        multiply_one<width, tiles, groups>(groupSize, x, xStride, rows, inputs, beta, NAMES(0), NAMES(1), NAMES(2));         \
    }
#define KERNELS(name, groups, beside)     \
    KERNEL_OF(name, 4, 1, groups, beside) \
    KERNEL_OF(name, 4, 2, groups, 2)      \
    KERNEL_OF(name, 8, 1, groups, 1)      \
    KERNEL_OF(name, 8, 2, groups, 1)
KERNELS(wide, 1, 2)
KERNELS(bits, BLOCKS, 1)

#endif
