// NeuralOps.attention: out = softmax(q k^T scale + bias) v, causal, per sequence and head, with ALiBi, a window and grouped
// KV heads. A block of 256 threads takes 64 queries of one head and walks over tiles of 64 keys with a running maximum
// and sum (Milakov and Gimelshein, "Online normalizer calculation for softmax"; Dao et al., "FlashAttention"): no score
// leaves shared memory. A thread holds 4 queries x 4 keys of a tile of scores, and 4 queries x WIDTH / 16 columns of out.
#include "portability.h"

#define QUERIES 64
#define KEYS 64
// Columns of q, k and v in shared memory at a time.
#define SLICE 32
#define ATTENTION_THREADS 256
// Padded rows of 64, aligned for reads of four.
#define PITCH 68

struct Shape {
    int length;
    int heads;
    int kvHeads;
    int headDim;
    float scale;
    int window;
};

// Rows from .. from + 64 of a head, columns d0 .. d0 + 32, to slice[d][row]; zero outside.
template <class Slice>
DEVICE void load_slice(const float* head, i64 stride, int from, int rows, int d0, int headDim, Slice slice) {
    for (int i = threadIdx.x; i < QUERIES * SLICE; i += ATTENTION_THREADS) {
        int d = i % SLICE;
        int row = i / SLICE;
        bool inside = from + row < rows && d0 + d < headDim;
        slice[d * PITCH + row] = inside ? head[(from + row) * stride + d0 + d] : 0.0f;
    }
}

template <int WIDTH>
DEVICE void attend(const float* q, i64 qStride, const float* k, i64 kStride, const float* v, i64 vStride,
                   const float* slopes, float* out, i64 outStride, Shape shape) {
    SHARED(float, querySlice, SLICE * PITCH);
    SHARED(float, keySlice, SLICE * PITCH);  // and v's slice, [key][32 columns]
    SHARED(float, scores, QUERIES * PITCH);
    SHARED(float, partial, QUERIES * 4);
    SHARED(float, maximum, QUERIES);
    SHARED(float, total, QUERIES);
    SHARED(float, rescale, QUERIES);
    int thread = threadIdx.x;
    int tx = thread % 16;
    int ty = thread / 16;
    int head = blockIdx.y;
    int kvHead = head / (shape.heads / shape.kvHeads);
    int first = blockIdx.x * QUERIES;
    i64 sequence = (i64)blockIdx.z * shape.length;
    const float* queries = q + sequence * qStride + (i64)head * shape.headDim;
    const float* keys = k + sequence * kStride + (i64)kvHead * shape.headDim;
    const float* values = v + sequence * vStride + (i64)kvHead * shape.headDim;
    float slope = slopes == 0 ? 0.0f : slopes[head];
    if (thread < QUERIES) {
        maximum[thread] = -infinity();
        total[thread] = 0;
    }
    float sum[4][WIDTH / 16];
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        #pragma unroll
        for (int c = 0; c < WIDTH / 16; c++) {
            sum[r][c] = 0;
        }
    }
    int last = first + QUERIES < shape.length ? first + QUERIES : shape.length;  // one past the last query
    int start = shape.window > 0 && first - shape.window + 1 > 0 ? (first - shape.window + 1) / KEYS * KEYS : 0;
    for (int from = start; from < last; from += KEYS) {
        float score[4][4];
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                score[r][c] = 0;
            }
        }
        for (int d0 = 0; d0 < shape.headDim; d0 += SLICE) {
            __syncthreads();
            load_slice(queries, qStride, first, shape.length, d0, shape.headDim, querySlice);
            load_slice(keys, kStride, from, shape.length, d0, shape.headDim, keySlice);
            __syncthreads();
            #pragma unroll 4
            for (int d = 0; d < SLICE; d++) {
                Four mine = four(&querySlice[d * PITCH + ty * 4]);
                Four theirs = four(&keySlice[d * PITCH + tx * 4]);
                #pragma unroll
                for (int r = 0; r < 4; r++) {
                    #pragma unroll
                    for (int c = 0; c < 4; c++) {
                        score[r][c] = fmaf(mine.at[r], theirs.at[c], score[r][c]);
                    }
                }
            }
        }
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                int i = first + ty * 4 + r;
                int j = from + tx * 4 + c;
                bool seen = j <= i && i < shape.length && (shape.window == 0 || j > i - shape.window);
                scores[(ty * 4 + r) * PITCH + tx * 4 + c] =
                    seen ? fmaf(score[r][c], shape.scale, slope * (j - i)) : -infinity();
            }
        }
        __syncthreads();
        // Four threads to a query, 16 keys each.
        int query = thread / 4;
        int part = thread % 4;
        float* quarter = &scores[query * PITCH + part * 16];
        float max = maximum[query];
        for (int c = 0; c < KEYS / 4; c++) {
            max = fmaxf(max, quarter[c]);
        }
        partial[thread] = max;
        __syncthreads();
        max = fmaxf(fmaxf(partial[query * 4], partial[query * 4 + 1]),
                    fmaxf(partial[query * 4 + 2], partial[query * 4 + 3]));
        float before = maximum[query];
        float sumOfWeights = 0;
        __syncthreads();
        for (int c = 0; c < KEYS / 4; c++) {
            // No key seen so far: the maximum is -infinity and its difference no number.
            float weight = quarter[c] == -infinity() ? 0.0f : expf(quarter[c] - max);
            quarter[c] = weight;
            sumOfWeights += weight;
        }
        partial[thread] = sumOfWeights;
        __syncthreads();
        if (part == 0) {
            float factor = before == -infinity() ? 0.0f : expf(before - max);
            rescale[query] = factor;
            maximum[query] = max;
            total[query] = fmaf(total[query], factor, (partial[query * 4] + partial[query * 4 + 1])
                + (partial[query * 4 + 2] + partial[query * 4 + 3]));
        }
        __syncthreads();
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            #pragma unroll
            for (int c = 0; c < WIDTH / 16; c++) {
                sum[r][c] *= rescale[ty * 4 + r];
            }
        }
        #pragma unroll
        for (int slice = 0; slice < WIDTH / SLICE; slice++) {
            if (slice * SLICE < shape.headDim) {
                __syncthreads();
                for (int i = thread; i < KEYS * SLICE; i += ATTENTION_THREADS) {
                    int d = slice * SLICE + i % SLICE;
                    i64 j = from + i / SLICE;
                    keySlice[i] = j < shape.length && d < shape.headDim ? values[j * vStride + d] : 0.0f;
                }
                __syncthreads();
                const float* weights = &scores[ty * 4 * PITCH];
                const float* column = &keySlice[tx];
                // Unrolled, it keeps the loop around it from being so, and sum from registers.
                #pragma unroll 1
                for (int j = 0; j < KEYS; j += 4) {
                    Four weight[4] = {four(weights + j), four(weights + PITCH + j), four(weights + 2 * PITCH + j),
                                      four(weights + 3 * PITCH + j)};
                    #pragma unroll
                    for (int i = 0; i < 4; i++) {
                        float first = column[(j + i) * SLICE];
                        float second = column[(j + i) * SLICE + 16];
                        #pragma unroll
                        for (int r = 0; r < 4; r++) {
                            sum[r][slice * 2] = fmaf(weight[r].at[i], first, sum[r][slice * 2]);
                            sum[r][slice * 2 + 1] = fmaf(weight[r].at[i], second, sum[r][slice * 2 + 1]);
                        }
                    }
                }
            }
        }
    }
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        int i = first + ty * 4 + r;
        #pragma unroll
        for (int c = 0; c < WIDTH / 16; c++) {
            int d = c * 16 + tx;
            if (i < shape.length && d < shape.headDim) {
                out[(sequence + i) * outStride + (i64)head * shape.headDim + d] = sum[r][c] / total[ty * 4 + r];
            }
        }
    }
}

// The grid is ceil(length / 64) x heads x sequences; slopes may be null. The number is the largest headDim.
#define ARGUMENTS const float *q, i64 qStride, const float *k, i64 kStride, const float *v, i64 vStride, \
                  const float *slopes, float *out, i64 outStride, int length, int heads, int kvHeads,    \
                  int headDim, float scale, int window

KERNEL(ATTENTION_THREADS) attention64(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, scale, window};
    attend<64>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}

KERNEL(ATTENTION_THREADS) attention128(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, scale, window};
    attend<128>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}

KERNEL(ATTENTION_THREADS) attention256(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, scale, window};
    attend<256>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}
