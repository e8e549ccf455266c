// GradientOps.attentionGradient, after FlashAttention-2 (arXiv 2307.08691, algorithm 2), in three passes instead of one, without
// atomics, so that every sum has a fixed order: the softmax statistics of each query, the gradient of keys and values by tiles of
// keys, the gradient of queries by tiles of queries. Scores are recomputed in each: none leaves shared memory. With p the weights,
// m_i = dOut_i . out_i, ds_ij = p_ij (dOut_i . v_j - m_i): dv_j = sum_i p_ij dOut_i, dk_j = scale sum_i ds_ij q_i, dq_i = scale
// sum_j ds_ij k_j; where scores are capped, ds_ij also has the derivative of the cap. A sink is a key without a value: its gradient
// is - sum_i p_i,sink m_i.
#include "attention_tiles.h"
#include "elements.h"
#include "reduce.h"

// Of one head: a query's largest score, 1 / the sum of exp(score - largest), and m.
struct Rows {
    float* maximum;
    float* inverse;
    float* mean;

    // maximum, inverse and mean are [heads, rows] each.
    static __device__ __forceinline__ Rows of(float* rows, i64 count, int heads, int head, i64 sequence) {
        float* at = rows + head * count + sequence;
        return Rows{at, at + heads * count, at + 2 * heads * count};
    }

    // The weight that query i gives to a key of that score.
    __device__ __forceinline__ float weight(i64 i, float score) const { return expf(score - maximum[i]) * inverse[i]; }
};

// Pass 1. Each thread keeps a running maximum and sum for its 4 queries over the keys that it sees of every tile (Milakov and
// Gimelshein); the 16 threads of a query meet at the end.
KERNEL(ATTENTION_THREADS) softmax_rows(const float* q, i64 qStride, const float* k, i64 kStride, const float* slopes,
                                       const float* sinks, const float* out, i64 outStride, const float* dOut,
                                       i64 dOutStride, float* rows, i64 count, int length, int heads, int kvHeads,
                                       int headDim, int valueDim, float scale, float inCaps, int window) {
    SHARED(float, querySlice, SLICE * PITCH);
    SHARED(float, keySlice, SLICE * PITCH);
    SHARED(float, maxima, TILE * 17);  // padded rows of 16
    SHARED(float, totals, TILE * 17);
    SHARED(float, means, TILE * 4);
    Shape shape = {length, heads, kvHeads, headDim, valueDim, scale, inCaps, window};
    int thread = threadIdx.x;
    int tx = thread % 16;
    int ty = thread / 16;
    int head = blockIdx.y;
    int first = blockIdx.x * TILE;
    i64 sequence = (i64)blockIdx.z * length;
    Head queries = Head::of(q, qStride, sequence, head, headDim);
    Head keys = Head::of(k, kStride, sequence, head / (heads / kvHeads), headDim);
    float slope = slopes == 0 ? 0.0f : slopes[head];
    float largest[4], total[4];
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        largest[r] = -infinity();
        total[r] = 0;
    }
    int last = first + TILE < length ? first + TILE : length;
    for (int from = shape.first_keys(first, TILE); from < last; from += TILE) {
        float score[4][4];
        products(queries, first, keys, from, shape, querySlice, keySlice, score);
        cap(shape, score);
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            int i = first + ty * 4 + r;
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                int j = from + tx * 4 + c;
                if (shape.sees(i, j)) {
                    float s = shape.score(score[r][c], slope, i, j);
                    float max = fmaxf(largest[r], s);
                    total[r] = fmaf(total[r], expf(largest[r] - max), expf(s - max));
                    largest[r] = max;
                }
            }
        }
    }
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        maxima[(ty * 4 + r) * 17 + tx] = largest[r];
        totals[(ty * 4 + r) * 17 + tx] = total[r];
    }
    // Four threads to a query, each with every fourth column.
    int mine = first + thread / 4;
    float mean = 0;
    if (mine < length) {
        const float* a = out + (sequence + mine) * outStride + (i64)head * valueDim;
        const float* b = dOut + (sequence + mine) * dOutStride + (i64)head * valueDim;
        for (int d = thread % 4; d < valueDim; d += 4) {
            mean = fmaf(a[d], b[d], mean);
        }
    }
    means[thread] = mean;
    __syncthreads();
    if (thread < TILE && first + thread < length) {
        float max = sinks == 0 ? -infinity() : sinks[head];
        for (int c = 0; c < 16; c++) {
            max = fmaxf(max, maxima[thread * 17 + c]);
        }
        float sum = sinks == 0 ? 0.0f : expf(sinks[head] - max);
        for (int c = 0; c < 16; c++) {
            // A thread that saw no key has the maximum -infinity and the sum 0.
            sum = fmaf(totals[thread * 17 + c], expf(maxima[thread * 17 + c] - max), sum);
        }
        Rows of = Rows::of(rows, count, heads, head, sequence);
        of.maximum[first + thread] = max;
        of.inverse[first + thread] = 1 / sum;
        of.mean[first + thread] = (means[thread * 4] + means[thread * 4 + 1]) + (means[thread * 4 + 2] + means[thread * 4 + 3]);
    }
}

struct Inputs {
    const float* q;
    i64 qStride;
    const float* k;
    i64 kStride;
    const float* v;
    i64 vStride;
    const float* slopes;
    const float* dOut;
    i64 dOutStride;
    float* rows;
    i64 count;
    Shape shape;
};

// Writes a thread's sums of its 4 rows, times factor, to a sequence's rows of one head.
template <int WIDTH>
DEVICE void write(const float (&sum)[4][WIDTH / 16], float factor, int first, int length, float* target, i64 stride, int head,
                  int columns) {
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    #pragma unroll
    for (int r = 0; r < 4; r++) {
        int row = first + ty * 4 + r;
        #pragma unroll
        for (int c = 0; c < WIDTH / 16; c++) {
            int d = c * 16 + tx;
            if (row < length && d < columns) {
                target[row * stride + (i64)head * columns + d] = sum[r][c] * factor;
            }
        }
    }
}

// Pass 2: dk and dv of 64 keys of one query head, which have columns for every query head.
template <int WIDTH> DEVICE void of_keys(Inputs in, float* dk, i64 dkStride, float* dv, i64 dvStride) {
    SHARED(float, keySlice, SLICE * PITCH);
    SHARED(float, querySlice, SLICE * PITCH);  // and the slice that is summed, [query][32 columns]
    SHARED(float, weights, TILE * PITCH);      // [key][query]: p, then ds
    const Shape& shape = in.shape;
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    int head = blockIdx.y;
    int kvHead = head / (shape.heads / shape.kvHeads);
    int first = blockIdx.x * TILE;
    i64 sequence = (i64)blockIdx.z * shape.length;
    Head queries = Head::of(in.q, in.qStride, sequence, head, shape.headDim);
    Head keys = Head::of(in.k, in.kStride, sequence, kvHead, shape.headDim);
    Head values = Head::of(in.v, in.vStride, sequence, kvHead, shape.valueDim);
    Head gradients = Head::of(in.dOut, in.dOutStride, sequence, head, shape.valueDim);
    Rows rows = Rows::of(in.rows, in.count, shape.heads, head, sequence);
    float slope = in.slopes == 0 ? 0.0f : in.slopes[head];
    float keySum[4][WIDTH / 16], valueSum[4][WIDTH / 16];
    clear(keySum);
    clear(valueSum);
    // One past the last query that sees one of the keys.
    i64 end = shape.window == 0 ? shape.length : least(shape.length, (i64)first + TILE - 1 + shape.window);
    for (int from = first; from < end; from += TILE) {
        float score[4][4], slopes[4][4];
        gradients.columns = per_thread(shape.valueDim);
        queries.columns = per_thread(shape.headDim);
        products(keys, first, queries, from, shape, keySlice, querySlice, score);
        cap(shape, score);
        products(values, first, gradients, from, shape, keySlice, querySlice, slopes);
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            int i = from + tx * 4 + c;
            #pragma unroll
            for (int r = 0; r < 4; r++) {
                int j = first + ty * 4 + r;
                bool seen = shape.sees(i, j);
                float p = seen ? rows.weight(i, shape.score(score[r][c], slope, i, j)) : 0.0f;
                slopes[r][c] = seen ? p * (slopes[r][c] - rows.mean[i]) * shape.rise(score[r][c]) : 0.0f;
                weights[(ty * 4 + r) * PITCH + tx * 4 + c] = p;
            }
        }
        accumulate<WIDTH>(weights, gradients, from, shape, querySlice, valueSum);
        __syncthreads();
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                weights[(ty * 4 + r) * PITCH + tx * 4 + c] = slopes[r][c];
            }
        }
        accumulate<WIDTH>(weights, queries, from, shape, querySlice, keySum);
    }
    write<WIDTH>(keySum, shape.scale, first, shape.length, dk + sequence * dkStride, dkStride, head, shape.headDim);
    write<WIDTH>(valueSum, 1, first, shape.length, dv + sequence * dvStride, dvStride, head, shape.valueDim);
}

// Pass 3: dq of 64 queries of one head.
template <int WIDTH> DEVICE void of_queries(Inputs in, float* dq, i64 dqStride) {
    SHARED(float, querySlice, SLICE * PITCH);
    SHARED(float, keySlice, SLICE * PITCH);  // and k's slice, [key][32 columns]
    SHARED(float, weights, TILE * PITCH);    // [query][key]: ds
    SHARED(float, mine, 3 * TILE);           // rows of these queries
    const Shape& shape = in.shape;
    int tx = threadIdx.x % 16;
    int ty = threadIdx.x / 16;
    int head = blockIdx.y;
    int kvHead = head / (shape.heads / shape.kvHeads);
    int first = blockIdx.x * TILE;
    i64 sequence = (i64)blockIdx.z * shape.length;
    Head queries = Head::of(in.q, in.qStride, sequence, head, shape.headDim);
    Head keys = Head::of(in.k, in.kStride, sequence, kvHead, shape.headDim);
    Head values = Head::of(in.v, in.vStride, sequence, kvHead, shape.valueDim);
    Head gradients = Head::of(in.dOut, in.dOutStride, sequence, head, shape.valueDim);
    Rows rows = Rows::of(in.rows, in.count, shape.heads, head, sequence);
    float slope = in.slopes == 0 ? 0.0f : in.slopes[head];
    if (threadIdx.x < TILE && first + threadIdx.x < shape.length) {
        mine[threadIdx.x] = rows.maximum[first + threadIdx.x];
        mine[TILE + threadIdx.x] = rows.inverse[first + threadIdx.x];
        mine[2 * TILE + threadIdx.x] = rows.mean[first + threadIdx.x];
    }
    Rows here = Rows{&mine[0], &mine[TILE], &mine[2 * TILE]};
    float sum[4][WIDTH / 16];
    clear(sum);
    int last = first + TILE < shape.length ? first + TILE : shape.length;
    for (int from = shape.first_keys(first, TILE); from < last; from += TILE) {
        float score[4][4], slopes[4][4];
        gradients.columns = per_thread(shape.valueDim);
        products(queries, first, keys, from, shape, querySlice, keySlice, score);
        cap(shape, score);
        products(gradients, first, values, from, shape, querySlice, keySlice, slopes);
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            int row = ty * 4 + r;
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                int j = from + tx * 4 + c;
                weights[row * PITCH + tx * 4 + c] = shape.sees(first + row, j)
                    ? here.weight(row, shape.score(score[r][c], slope, first + row, j)) * (slopes[r][c] - here.mean[row])
                        * shape.rise(score[r][c])
                    : 0.0f;
            }
        }
        accumulate<WIDTH>(weights, keys, from, shape, keySlice, sum);
    }
    write<WIDTH>(sum, shape.scale, first, shape.length, dq + sequence * dqStride, dqStride, head, shape.headDim);
}

// The grid is ceil(length / 64) x heads x sequences; slopes may be null; rows [3 heads, count], count the rows of q. The
// number is the largest of headDim and valueDim.
#define ARGUMENTS const float *q, i64 qStride, const float *k, i64 kStride, const float *v, i64 vStride,   \
                  const float *slopes, const float *dOut, i64 dOutStride, float *rows, i64 count, int length, \
                  int heads, int kvHeads, int headDim, int valueDim, float scale, float inCaps, int window
#define INPUTS {q, qStride, k, kStride, v, vStride, slopes, dOut, dOutStride, rows, count, \
                {length, heads, kvHeads, headDim, valueDim, scale, inCaps, window}}

#define KERNELS(width)                                                                                              \
    KERNEL(ATTENTION_THREADS) gradient_of_keys##width(ARGUMENTS, float* dk, i64 dkStride, float* dv, i64 dvStride) { \
        of_keys<width>(INPUTS, dk, dkStride, dv, dvStride);                                                         \
    }                                                                                                               \
    KERNEL(ATTENTION_THREADS) gradient_of_queries##width(ARGUMENTS, float* dq, i64 dqStride) {                      \
        of_queries<width>(INPUTS, dq, dqStride);                                                                    \
    }

KERNELS(64)
KERNELS(128)
KERNELS(256)

// dSinks[head] -= sum over the queries of a head of p_sink m: a block per head, count > 0.
KERNEL(THREADS) gradient_of_sinks(const float* sinks, float* rows, i64 count, int heads, float* dSinks) {
    SHARED(float, scratch, THREADS);
    int head = blockIdx.x;
    Rows of = Rows::of(rows, count, heads, head, 0);
    float sum = 0;
    for (i64 i = threadIdx.x; i < count; i += THREADS) {
        sum = fmaf(of.weight(i, sinks[head]), of.mean[i], sum);
    }
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) {
        dSinks[head] -= sum;
    }
}

// target [rows, kvHeads * headDim] = the sum over the query heads of each KV head, in order; perHead [rows, heads * headDim].
KERNEL(256) sum_heads(const float* perHead, i64 perHeadStride, int group, int headDim, float* target, i64 targetStride,
                      i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 kvHead = column / headDim;
        const float* from = perHead + row * perHeadStride + kvHead * group * headDim + column % headDim;
        float sum = from[0];
        for (int member = 1; member < group; member++) {
            sum += from[member * headDim];
        }
        target[row * targetStride + column] = sum;
    }
}
