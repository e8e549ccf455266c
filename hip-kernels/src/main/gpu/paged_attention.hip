// CacheOps.attend on the plain units, of any type of cache: out = softmax(q k^T scale + bias) v over pages. A block takes up to
// 16 pairs of a row and a query head that share a KV head, so that a page is read once for all of them, and walks over pages
// with a running maximum and sum. Long sequences are split over blocks, whose parts are merged in order.
#include "cache_pages.h"
#include "reduce.h"

#define ATTEND_THREADS 256

// A maximum, a sum of weights and sums of values, which follow it, for each pair.
#define PART (WIDTH + 2)

template <int WIDTH>
DEVICE void attend(const float* q, i64 qStride, Pages keys, Pages values, int type, Batch batch, const float* slopes,
                   const float* sinks, Outputs out, int kvHeads, int group, int headDim, int width, float scale, float inCaps,
                   int window, float* parts,
                   int mostChunks, int partPairs) {
    constexpr int PITCH = WIDTH + 1;  // rows begin in different banks
    SHARED(float, queries, PAIRS * PITCH);
    SHARED(float, page, TOKENS * PITCH);
    SHARED(float, weights, PAIRS * TOKENS);
    int thread = threadIdx.x;
    Work work;
    if (!find_work(batch, kvHeads, group, window, type, blockIdx.z, blockIdx.y, blockIdx.x % kvHeads, blockIdx.x / kvHeads, &work)) {
        return;
    }
    int pair = thread / TOKENS;
    int token = thread % TOKENS;
    int head = work.head(pair, group);
    bool real = pair < work.pairs;
    int position = work.at(pair, group);
    for (int i = thread; i < PAIRS * WIDTH; i += ATTEND_THREADS) {
        int p = i / WIDTH;
        int d = i % WIDTH;
        bool inside = p < work.pairs && d < headDim;
        queries[p * PITCH + d] =
            inside ? q[work.row(p, group) * qStride + (i64)work.head(p, group) * headDim + d] : 0.0f;
    }
    float slope = slopes == 0 || !real ? 0.0f : slopes[head];
    float most = -infinity();
    float total = 0;
    float sum[WIDTH / TOKENS];
    #pragma unroll
    for (int c = 0; c < WIDTH / TOKENS; c++) {
        sum[c] = 0;
    }
    // Tokens after the last row's are not there yet.
    int end = work.at(work.pairs - 1, group) + 1;
    for (int index = work.fromPage; index < work.toPage; index++) {
        i64 row = (i64)batch.table[work.sequence * batch.tableStride + index] * kvHeads + work.kvHead;
        __syncthreads();
        for (int i = thread; i < TOKENS * WIDTH; i += ATTEND_THREADS) {
            int t = i / WIDTH;
            int d = i % WIDTH;
            page[t * PITCH + d] =
                d < headDim && index * TOKENS + t < end ? keys.value(type, row, t, d, width) : 0.0f;
        }
        __syncthreads();
        float product = 0;
        #pragma unroll 4
        for (int d = 0; d < WIDTH; d++) {
            product = fmaf(queries[pair * PITCH + d], page[token * PITCH + d], product);
        }
        int j = index * TOKENS + token;
        bool sees = real && j <= position && (window == 0 || j > position - window);
        float score = sees ? fmaf(capped(product, inCaps), scale, slope * (j - position)) : -infinity();
        float top = fmaxf(most, score);
        #pragma unroll
        for (int step = TOKENS / 2; step > 0; step /= 2) {
            top = fmaxf(top, shuffle(top, token ^ step, TOKENS));
        }
        float weight = score == -infinity() ? 0.0f : expf(score - top);
        float added = weight;
        #pragma unroll
        for (int step = TOKENS / 2; step > 0; step /= 2) {
            added += shuffle(added, token ^ step, TOKENS);
        }
        float factor = most == -infinity() ? 0.0f : expf(most - top);
        most = top;
        total = fmaf(total, factor, added);
        weights[thread] = weight;
        __syncthreads();
        for (int i = thread; i < TOKENS * WIDTH; i += ATTEND_THREADS) {
            int t = i / WIDTH;
            int d = i % WIDTH;
            page[t * PITCH + d] =
                d < headDim && index * TOKENS + t < end ? values.value(type, row, t, d, width) : 0.0f;
        }
        __syncthreads();
        #pragma unroll
        for (int c = 0; c < WIDTH / TOKENS; c++) {
            float next = sum[c] * factor;
            #pragma unroll
            for (int t = 0; t < TOKENS; t++) {
                next = fmaf(weights[pair * TOKENS + t], page[t * PITCH + c * TOKENS + token], next);
            }
            sum[c] = next;
        }
    }
    if (!real) {
        return;
    }
    float* part = parts + (((i64)work.sequence * kvHeads + work.kvHead) * mostChunks + work.chunk) * partPairs * PART
        + (i64)pair * PART;
    #pragma unroll
    for (int c = 0; c < WIDTH / TOKENS; c++) {
        int d = c * TOKENS + token;
        if (d < headDim && work.chunks == 1) {
            out.store(work.row(pair, group), (i64)head * headDim + d, sum[c] / with_sink(total, most, sinks, head));
        } else if (d < headDim) {
            part[2 + d] = sum[c];
        }
    }
    if (work.chunks > 1 && token == 0) {
        part[0] = most;
        part[1] = total;
    }
}

// The grid is (kvHeads * most chunks) x tiles of 16 pairs x sequences. slopes and grids may be null.
#define ARGUMENTS const float *q, i64 qStride, int type, const void *keys, i64 keyStride, const u16 *keyGrids,               \
                  i64 keyGridStride, const void *values, i64 valueStride, const u16 *valueGrids, i64 valueGridStride,        \
                  const int *table, i64 tableStride, const int *lengths, const int *starts, const float *slopes, \
                  const float *sinks, float *out, i64 outStride, u16 *rounded, int roundedType, \
                  i64 roundedStride, int kvHeads, int group, int headDim, int width, float scale, float inCaps, int window, float *parts,      \
                  int mostChunks, int partPairs
#define VALUES q, qStride, Pages{keys, keyStride, keyGrids, keyGridStride},                                              \
               Pages{values, valueStride, valueGrids, valueGridStride}, type, Batch{table, tableStride, lengths, starts}, \
               slopes, sinks, Outputs{out, outStride, rounded, roundedType, roundedStride}, kvHeads, group, headDim, width, scale, inCaps, window, parts, mostChunks, partPairs

KERNEL_BESIDE(ATTEND_THREADS, 4) attend64(ARGUMENTS) { attend<64>(VALUES); }
KERNEL_BESIDE(ATTEND_THREADS, 4) attend128(ARGUMENTS) { attend<128>(VALUES); }
KERNEL_BESIDE(ATTEND_THREADS, 4) attend256(ARGUMENTS) { attend<256>(VALUES); }

// Merges the chunks of sequences that were split over blocks, in order. The grid is (kvHeads * partPairs) x sequences; part is the
// size of a pair's chunk: width + 2.
#define MERGE_THREADS 128

KERNEL(MERGE_THREADS) merge(const float* parts, int part, int type, const int* lengths, const int* starts, const float* sinks, float* exact,
                            i64 outStride, u16* rounded, int roundedType, i64 roundedStride, int kvHeads, int group, int headDim,
                            int window, int mostChunks, int partPairs) {
    Outputs out = {exact, outStride, rounded, roundedType, roundedStride};
    SHARED(float, most, MOST_CHUNKS);
    SHARED(float, totals, MOST_CHUNKS);
    int kvHead = blockIdx.x / partPairs;
    int pair = blockIdx.x % partPairs;
    Work work;
    Batch batch = {0, 0, lengths, starts};
    if (!find_work(batch, kvHeads, group, window, type, blockIdx.y, 0, kvHead, 0, &work) || work.chunks == 1 || pair >= work.pairs) {
        return;
    }
    const float* own = parts + (((i64)work.sequence * kvHeads + kvHead) * mostChunks * partPairs + pair) * part;
    i64 chunkStride = (i64)partPairs * part;
    // All sums are on their way before the maxima are known; of chunks that are not there, any.
    float read[MOST_CHUNKS];
    auto fetch = [&](int d) {
        const float* from = own + 2 + d;
        #pragma unroll
        for (int c = 0; c < MOST_CHUNKS; c++) {
            read[c] = *from;
            from += c + 1 < work.chunks ? chunkStride : 0;
        }
    };
    int d = threadIdx.x;
    if (d < headDim) {
        fetch(d);
    }
    for (int c = threadIdx.x; c < MOST_CHUNKS; c += MERGE_THREADS) {
        most[c] = c < work.chunks ? own[c * chunkStride] : -infinity();
        totals[c] = c < work.chunks ? own[c * chunkStride + 1] : 0.0f;
    }
    __syncthreads();
    float largest = -infinity();
    #pragma unroll
    for (int c = 0; c < MOST_CHUNKS; c++) {
        largest = fmaxf(largest, most[c]);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < MOST_CHUNKS; c += MERGE_THREADS) {
        most[c] = most[c] == -infinity() ? 0.0f : expf(most[c] - largest);
    }
    __syncthreads();
    float total = 0;
    #pragma unroll
    for (int c = 0; c < MOST_CHUNKS; c++) {
        total = fmaf(totals[c], most[c], total);
    }
    total = with_sink(total, largest, sinks, work.head(pair, group));
    for (; d < headDim; d += MERGE_THREADS) {
        if (d >= MERGE_THREADS) {
            fetch(d);
        }
        float sum = 0;
        #pragma unroll
        for (int c = 0; c < MOST_CHUNKS; c++) {
            sum = c < work.chunks ? fmaf(read[c], most[c], sum) : sum;
        }
        out.store(work.row(pair, group), (i64)work.head(pair, group) * headDim + d, sum / total);
    }
}
