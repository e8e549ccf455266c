// QuantOps.linearPacked in F16 on the matrix units with waves of 32, for 17 to 128 rows, from the weights as they are stored, as
// in packed_few.hip. A block takes 128 outputs and 32 or 64 rows: its waves are 4 across the outputs and 2 along the inputs. The
// inputs of all rows are put into shared memory, in the order in which codes leave their words, and are read by four waves. Weights
// are dequantized in F16, as for the library's matmul with more rows. Blocks share the inputs; their parts are summed by packed.hip.
#include "packed_pairs.h"

#if MATRIX_UNITS && ROWS_LAYOUT

#define WAVES_ACROSS 4
#define WAVES_ALONG 2
#define UNIT_THREADS (WAVES_ACROSS * WAVES_ALONG * GPU_WAVE)
// Inputs at a time, of all waves.
#define RUN 128
#define OWN_BLOCKS (RUN / PACKED / WAVES_ALONG)
#define OUTPUTS 32
#define OUTPUT_TILES 2
#define TILE_ROWS 8
#define TILE_PART 4
// Words of a row of inputs in shared memory: neighbouring rows begin 64 bytes apart in the banks.
#define PITCH (RUN / 2 + 16)

// The words of one run and their zero points and scales, of four outputs.
template <int BITS> struct Share {
    static constexpr int LOADS = BITS / 4;
    Words words[OWN_BLOCKS][LOADS];
    u32 zeros[OWN_BLOCKS];
    Pair scales[OWN_BLOCKS];

    __device__ __forceinline__ void load(const Packed& layer, int groupSize, int first, int own) {
        #pragma unroll
        for (int b = 0; b < OWN_BLOCKS; b++) {
            int input = first + b * PACKED;
            bool there = own < (int)layer.outputs && input < (int)layer.inputs;
            #pragma unroll
            for (int l = 0; l < LOADS; l++) {
                int row = input / PACKED * BITS + quarter() * LOADS + l;
                words[b][l] = there ? *(const Words*)(layer.qweight + row * layer.qweightStride + own) : Words{{0, 0, 0, 0}};
            }
            i64 group = there ? (u32)input / (u32)groupSize : 0;
            zeros[b] = there ? four_zeros<BITS>(layer, group, own) : 0;
            scales[b] = there ? *(const Pair*)(layer.scales + group * layer.scalesStride + own) : Pair{{0, 0}};
        }
    }
};

// Two products in F16.
DEVICE u32 times(u32 a, u32 b) {
#if defined(__CUDACC__)
    u32 products;
    asm("mul.f16x2 %0, %1, %2;" : "=r"(products) : "r"(a), "r"(b));
    return products;
#else
    return to_f16(from_f16((u16)a) * from_f16((u16)b)) | (u32)to_f16(from_f16((u16)(a >> 16)) * from_f16((u16)(b >> 16))) << 16;
#endif
}

// Inputs of 16 bytes in the order in which they are multiplied.
template <int BITS> DEVICE Words ordered(const Words& inputs) {
    Words result;
    #pragma unroll
    for (int s = 0; s < 2; s++) {
        u32 pair[2];
        input_pairs<BITS>(inputs, s, pair);
        result.at[2 * s] = pair[0];
        result.at[2 * s + 1] = pair[1];
    }
    return result;
}

template <int BITS, int TILES>
DEVICE void multiply(const Packed& layer, int groupSize, const u16* x, i64 xStride, int rows, float* y, i64 part) {
    constexpr int ROWS = TILES * TILE_ROWS;
    // 16 bytes that a thread brings into shared memory at a time.
    constexpr int PIECES = ROWS * RUN / 8 / UNIT_THREADS;
    SHARED(u32, stage, 2 * ROWS * PITCH);
    typedef Share<BITS> Own;
    int thread = threadIdx.x;
    int wave = thread / GPU_WAVE;
    int waveAcross = wave % WAVES_ACROSS;
    int waveAlong = wave / WAVES_ACROSS;
    int left = (blockIdx.x * WAVES_ACROSS + waveAcross) * OUTPUTS;
    int own = left + 4 * across_lane();
    int top = blockIdx.z * ROWS;
    int inputs = (int)layer.inputs;
    int ownInputs = waveAlong * OWN_BLOCKS * PACKED;
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
    Own next;
    Words pieces[PIECES];
    int step = gridDim.y * RUN;
    int first = blockIdx.y * RUN;
    auto fetch = [&](int from) {
        next.load(layer, groupSize, from + ownInputs, own);
        #pragma unroll
        for (int p = 0; p < PIECES; p++) {
            int piece = thread + p * UNIT_THREADS;
            int row = top + piece / (RUN / 8);
            int input = from + piece % (RUN / 8) * 8;
            pieces[p] = row < rows && input < inputs ? *(const Words*)(x + row * xStride + input) : Words{{0, 0, 0, 0}};
        }
    };
    fetch(first);
    #pragma unroll 1
    for (int half = 0; first < inputs; first += step, half ^= 1) {
        #pragma unroll
        for (int p = 0; p < PIECES; p++) {
            int piece = thread + p * UNIT_THREADS;
            *(Words*)&stage[half * ROWS * PITCH + piece / (RUN / 8) * PITCH + piece % (RUN / 8) * 4] = ordered<BITS>(pieces[p]);
        }
        Own now = next;
        __syncthreads();
        fetch(first + step);
        #pragma unroll
        for (int b = 0; b < OWN_BLOCKS; b++) {
            u32 weights[2][OUTPUT_TILES][4];
            #pragma unroll
            for (int j = 0; j < 4; j++) {
                u32 zero = zero_base<BITS>(layer, now.zeros[b], j);
                u32 scale = now.scales[b].at[j / 2];
                scale = j % 2 == 0 ? lower_halves(scale, scale) : upper_halves(scale, scale);
                #pragma unroll
                for (int s = 0; s < 2; s++) {
                    u32 pair[2];
                    weight_pairs<BITS>(now.words[b][0].at[j], now.words[b][Own::LOADS - 1].at[j], s, zero, pair);
                    weights[s][j / 2][j % 2] = times(pair[0], scale);
                    weights[s][j / 2][j % 2 + 2] = times(pair[1], scale);
                }
            }
            #pragma unroll
            for (int n = 0; n < TILES; n++) {
                Words in = *(const Words*)&stage[half * ROWS * PITCH + (n * TILE_ROWS + across_lane()) * PITCH
                                                 + (ownInputs + b * PACKED) / 2 + 4 * quarter()];
                #pragma unroll
                for (int s = 0; s < 2; s++) {
                    #pragma unroll
                    for (int t = 0; t < OUTPUT_TILES; t++) {
                        Operand factor = {{weights[s][t][0], weights[s][t][1], weights[s][t][2], weights[s][t][3]}};
                        multiply_8<F16>(sum[t][n], factor, in.at[2 * s], in.at[2 * s + 1]);
                    }
                }
            }
        }
    }
    // The second wave along the inputs hands its sums to the first.
    __syncthreads();
    #pragma unroll
    for (int t = 0; t < OUTPUT_TILES; t++) {
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            #pragma unroll
            for (int c = 0; c < TILE_PART; c++) {
                int at = (((t * TILES + n) * TILE_PART + c) * WAVES_ACROSS + waveAcross) * GPU_WAVE + lane_of_wave();
                if (waveAlong == 1) {
                    stage[at] = __float_as_uint(sum[t][n][c]);
                }
            }
        }
    }
    __syncthreads();
    if (waveAlong == 1) {
        return;
    }
    #pragma unroll
    for (int n = 0; n < TILES; n++) {
        #pragma unroll
        for (int c = 0; c < 2; c++) {
            int row = top + n * TILE_ROWS + 2 * quarter() + c;
            Four result;
            #pragma unroll
            for (int j = 0; j < 4; j++) {
                int e = ((j / 2 * TILES + n) * TILE_PART + c + j % 2 * 2) * WAVES_ACROSS + waveAcross;
                result.at[j] = sum[j / 2][n][c + j % 2 * 2] + __uint_as_float(stage[e * GPU_WAVE + lane_of_wave()]);
            }
            if (own < (int)layer.outputs && row < rows) {
                *(Four*)(y + blockIdx.y * part + row * layer.outputs + own) = result;
            }
        }
    }
}

// The grid is ceil(outputs / 128) x parts x ceil(rows / (8 tiles)). y F32 [parts, rows, outputs]. Rows of qweight and of x begin at
// multiples of 16 bytes, rows of scales at multiples of 8; inputs of a group are neighbours, a multiple of 32.
#define KERNEL_OF(width, tiles)                                                                                         \
    KERNEL_BESIDE(UNIT_THREADS, tiles == 8 ? 1 : 2) bits##width##_tiles##tiles(PACKED_ARGUMENTS, int groupSize, const u16* x, \
                                               i64 xStride, int rows, float* y, i64 part) {                             \
        multiply<width, tiles>(PACKED_LAYER, groupSize, x, xStride, rows, y, part);                                      \
    }
KERNEL_OF(4, 4)
KERNEL_OF(4, 8)
KERNEL_OF(8, 4)
KERNEL_OF(8, 8)

#endif
