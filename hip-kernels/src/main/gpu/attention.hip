// NeuralOps.attention: out = softmax(q k^T scale + bias) v, causal, per sequence and head, with ALiBi, a window, a
// cap of the scores, sinks and grouped KV heads. A block of 256 threads takes 64 queries of one head and walks over tiles of 64 keys with a running maximum
// and sum (Milakov and Gimelshein, "Online normalizer calculation for softmax"; Dao et al., "FlashAttention"): no score
// leaves shared memory.
#include "attention_tiles.h"

template <int WIDTH>
DEVICE void attend(const float* q, i64 qStride, const float* k, i64 kStride, const float* v, i64 vStride,
                   const float* slopes, const float* sinks, float* out, i64 outStride, Shape shape) {
    SHARED(float, querySlice, SLICE * PITCH);
    SHARED(float, keySlice, SLICE * PITCH);  // and v's slice, [key][32 columns]
    SHARED(float, scores, TILE * PITCH);
    SHARED(float, partial, TILE * 4);
    SHARED(float, maximum, TILE);
    SHARED(float, total, TILE);
    SHARED(float, rescale, TILE);
    int thread = threadIdx.x;
    int tx = thread % 16;
    int ty = thread / 16;
    int head = blockIdx.y;
    int kvHead = head / (shape.heads / shape.kvHeads);
    int first = blockIdx.x * TILE;
    i64 sequence = (i64)blockIdx.z * shape.length;
    Head queries = Head::of(q, qStride, sequence, head, shape.headDim);
    Head keys = Head::of(k, kStride, sequence, kvHead, shape.headDim);
    Head values = Head::of(v, vStride, sequence, kvHead, shape.valueDim);
    float slope = slopes == 0 ? 0.0f : slopes[head];
    if (thread < TILE) {
        // A sink is a key without a value that every query sees.
        maximum[thread] = sinks == 0 ? -infinity() : sinks[head];
        total[thread] = sinks == 0 ? 0.0f : 1.0f;
    }
    float sum[4][WIDTH / 16];
    clear(sum);
    int last = first + TILE < shape.length ? first + TILE : shape.length;  // one past the last query
    for (int from = shape.first_keys(first, TILE); from < last; from += TILE) {
        float score[4][4];
        products(queries, first, keys, from, shape, querySlice, keySlice, score);
        cap(shape, score);
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                int i = first + ty * 4 + r;
                int j = from + tx * 4 + c;
                scores[(ty * 4 + r) * PITCH + tx * 4 + c] =
                    shape.sees(i, j) ? shape.score(score[r][c], slope, i, j) : -infinity();
            }
        }
        __syncthreads();
        // Four threads to a query, 16 keys each.
        int query = thread / 4;
        int part = thread % 4;
        float* quarter = &scores[query * PITCH + part * 16];
        float max = maximum[query];
        for (int c = 0; c < TILE / 4; c++) {
            max = fmaxf(max, quarter[c]);
        }
        partial[thread] = max;
        __syncthreads();
        max = fmaxf(fmaxf(partial[query * 4], partial[query * 4 + 1]),
                    fmaxf(partial[query * 4 + 2], partial[query * 4 + 3]));
        float before = maximum[query];
        float sumOfWeights = 0;
        __syncthreads();
        for (int c = 0; c < TILE / 4; c++) {
            // No key seen so far: the maximum is -infinity and the difference would be NaN.
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
        accumulate<WIDTH>(scores, values, from, shape, keySlice, sum);
    }
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        int i = first + ty * 4 + r;
        #pragma unroll
        for (int c = 0; c < WIDTH / 16; c++) {
            int d = c * 16 + tx;
            if (i < shape.length && d < shape.valueDim) {
                out[(sequence + i) * outStride + (i64)head * shape.valueDim + d] = sum[r][c] / total[ty * 4 + r];
            }
        }
    }
}

// The grid is ceil(length / 64) x heads x sequences; slopes and sinks may be null. The number is the largest valueDim.
#define ARGUMENTS const float *q, i64 qStride, const float *k, i64 kStride, const float *v, i64 vStride,      \
                  const float *slopes, const float *sinks, float *out, i64 outStride, int length, int heads, \
                  int kvHeads, int headDim, int valueDim, float scale, float inCaps, int window

#define ATTENTION(width)                                                                         \
    KERNEL(ATTENTION_THREADS) attention##width(ARGUMENTS) {                                      \
        Shape shape = {length, heads, kvHeads, headDim, valueDim, scale, inCaps, window};        \
        attend<width>(q, qStride, k, kStride, v, vStride, slopes, sinks, out, outStride, shape);  \
    }

ATTENTION(64)
ATTENTION(128)
ATTENTION(256)
