// QuantOps.linearPacked for a few rows: bound by reading the weights, which are read once, 16 bytes a thread. A block
// takes 128 outputs, 32 threads with four each; its 8 slices of threads take 8 blocks of 32 inputs at a time, and meet in the
// end by a tree. Blocks of threads may share the inputs too; their parts are then summed by packed.hip.
#include "packed.h"

#define VECTOR_THREADS 256
#define EACH 4
#define ACROSS 32
#define OUTPUTS (ACROSS * EACH)
#define SLICES (VECTOR_THREADS / ACROSS)
// Inputs at a time.
#define TILE (SLICES * PACKED)

struct alignas(16) Words {
    u32 at[EACH];
};

// Strided views begin anywhere.
DEVICE Words load_words(const u32* from, bool aligned) {
    if (aligned) {
        return *(const Words*)from;
    }
    return {{from[0], from[1], from[2], from[3]}};
}

// The words of 32 codes of one of a thread's outputs.
template <int BITS> struct Column {
    const Words (&words)[BITS];
    int output;

    __device__ __forceinline__ u32 operator[](int word) const { return words[word].at[output]; }
};

// Rows and bias may be fewer and null; y, where part p of the inputs goes to y + p * part.
template <int BITS, int ROWS>
DEVICE void multiply(const Packed& layer, const float* x, i64 xStride, int rows, const float* bias, float* y, i64 yStride,
                     i64 part) {
    SHARED(float, inputs, ROWS * TILE);
    SHARED(int, groups, TILE);
    SHARED(float, halves, SLICES / 2 * ROWS * OUTPUTS);
    int thread = threadIdx.x;
    int slice = thread / ACROSS;
    i64 o = (i64)blockIdx.x * OUTPUTS + thread % ACROSS * EACH;
    bool aligned = (u64)layer.qweight % 16 == 0 && layer.qweightStride % EACH == 0;
    float sum[ROWS][EACH];
    #pragma unroll
    for (int r = 0; r < ROWS; r++) {
        #pragma unroll
        for (int j = 0; j < EACH; j++) {
            sum[r][j] = 0;
        }
    }
    for (i64 first = (i64)blockIdx.y * TILE; first < layer.inputs; first += (i64)gridDim.y * TILE) {
        i64 block = first / PACKED + slice;
        bool inside = block * PACKED < layer.inputs && o < layer.outputs;
        Words words[BITS];
        #pragma unroll
        for (int w = 0; w < BITS; w++) {
            words[w] = inside ? load_words(layer.qweight + (block * BITS + w) * layer.qweightStride + o, aligned)
                              : Words{{0, 0, 0, 0}};
        }
        // The input that this thread loads is one of its slice's.
        i64 input = first + thread;
        int group = input < layer.inputs ? layer.groupOf[input] : 0;
        __syncthreads();
        groups[thread] = group;
        #pragma unroll
        for (int r = 0; r < ROWS; r++) {
            inputs[r * TILE + thread] = r < rows && input < layer.inputs ? x[r * xStride + input] : 0.0f;
        }
        __syncthreads();
        int shared = groups[slice * PACKED];
        bool mixed = (u32)(ballot(group != shared ? 1 : 0) >> (thread % GPU_WAVE / PACKED * PACKED)) != 0;
        if (!inside) {
            continue;
        }
        if (!mixed) {
            float zero[EACH];
            float ofGroup[ROWS][EACH];
            #pragma unroll
            for (int j = 0; j < EACH; j++) {
                zero[j] = code_base(layer.zero(shared, o + j, BITS));
                #pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    ofGroup[r][j] = 0;
                }
            }
            #pragma unroll
            for (int i = 0; i < PACKED; i += 4) {
                Four factors[ROWS];
                #pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    factors[r] = four(&inputs[r * TILE + slice * PACKED + i]);
                }
                #pragma unroll
                for (int e = 0; e < 4; e++) {
                    #pragma unroll
                    for (int j = 0; j < EACH; j++) {
                        float steps = code_float<BITS>(Column<BITS>{words, j}, i + e) - zero[j];
                        #pragma unroll
                        for (int r = 0; r < ROWS; r++) {
                            ofGroup[r][j] = fmaf(factors[r].at[e], steps, ofGroup[r][j]);
                        }
                    }
                }
            }
            #pragma unroll
            for (int j = 0; j < EACH; j++) {
                float scale = layer.scale(shared, o + j);
                #pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    sum[r][j] = fmaf(scale, ofGroup[r][j], sum[r][j]);
                }
            }
        } else {
            // Act-order: a grid for each input. Words are read from the cache in any order.
            #pragma unroll 1
            for (int i = 0; i < PACKED; i++) {
                int own = groups[slice * PACKED + i];
                #pragma unroll
                for (int j = 0; j < EACH; j++) {
                    int code = unpack(layer.qweight + o + j, layer.qweightStride, block * PACKED + i, BITS);
                    float weight = value_of(code, layer.scale(own, o + j), layer.zero(own, o + j, BITS));
                    #pragma unroll
                    for (int r = 0; r < ROWS; r++) {
                        sum[r][j] = fmaf(inputs[r * TILE + slice * PACKED + i], weight, sum[r][j]);
                    }
                }
            }
        }
    }
    int column = thread % ACROSS * EACH;
    #pragma unroll
    for (int half = SLICES / 2; half > 0; half /= 2) {
        __syncthreads();
        #pragma unroll
        for (int r = 0; r < ROWS; r++) {
            #pragma unroll
            for (int j = 0; j < EACH; j++) {
                if (slice >= half && slice < 2 * half) {
                    halves[((slice - half) * ROWS + r) * OUTPUTS + column + j] = sum[r][j];
                }
            }
        }
        __syncthreads();
        #pragma unroll
        for (int r = 0; r < ROWS; r++) {
            #pragma unroll
            for (int j = 0; j < EACH; j++) {
                if (slice < half) {
                    sum[r][j] += halves[(slice * ROWS + r) * OUTPUTS + column + j];
                }
            }
        }
    }
    if (slice == 0 && o < layer.outputs) {
        #pragma unroll
        for (int r = 0; r < ROWS; r++) {
            #pragma unroll
            for (int j = 0; j < EACH; j++) {
                if (r < rows) {
                    y[blockIdx.y * part + r * yStride + o + j] = sum[r][j] + (bias == 0 ? 0.0f : bias[o + j]);
                }
            }
        }
    }
}

// The grid is ceil(outputs / 128) x parts. bias [outputs] may be null.
#define ARGUMENTS const float *x, i64 xStride, int rows, const float *bias, float *y, i64 yStride, i64 part

#define KERNEL_OF(width, most)                                                          \
    KERNEL(VECTOR_THREADS) bits##width##_rows##most(PACKED_ARGUMENTS, ARGUMENTS) {      \
        multiply<width, most>(PACKED_LAYER, x, xStride, rows, bias, y, yStride, part);  \
    }
#define KERNELS(width)  \
    KERNEL_OF(width, 1) \
    KERNEL_OF(width, 2) \
    KERNEL_OF(width, 4) \
    KERNEL_OF(width, 8)

KERNELS(2)
KERNELS(3)
KERNELS(4)
KERNELS(8)
