// Keys and values of past tokens in pages, as in CachePages.java: row page * kvHeads + head is one head's 16 tokens.
#ifndef OPTGPTQ_CACHE_PAGES_H
#define OPTGPTQ_CACHE_PAGES_H
#include "elements.h"

// Codes that GpuCacheOps.java passes, beside F32, F16 and BF16 of elements.h.
#define INT8 8
#define INT4 4

// Tokens of a page.
#define TOKENS 16
// Pairs of a row and a query head that share a page once it is read; and so few that paged_attention_few.hip takes them.
#define PAIRS 16
#define FEW_PAIRS 8

// Keys, or values. Strides are in elements of the stored type, bytes for codes.
struct Pages {
    const void* elements;
    i64 stride;
    const u16* grids;
    i64 gridStride;

    // Element d of the token at some place of a row; width elements of a token.
    __device__ __forceinline__ float value(int type, i64 row, int place, int d, int width) const {
        if (type != INT8 && type != INT4) {
            return load_float(elements, row * stride + (i64)place * width + d, type);
        }
        const u8* codes = (const u8*)elements + row * stride + (i64)place * width;
        int code = type == INT8 ? codes[d] : codes[d / 2] >> (4 * (d % 2)) & 15;
        const u16* grid = grids + row * gridStride + 2 * place;
        return fmaf(from_f16(grid[0]), (float)code, from_f16(grid[1]));
    }
};

// Which pages belong to which rows, as in CacheRows.java.
struct Batch {
    const int* table;
    i64 tableStride;
    const int* lengths;
    const int* starts;
};

// What attention gives: a matrix of F32, and the same rounded to F16 or BF16 beside it, which may be null.
struct Outputs {
    float* exact;
    i64 stride;
    u16* rounded;
    int type;
    i64 roundedStride;

    __device__ __forceinline__ void store(i64 row, i64 column, float value) const {
        exact[row * stride + column] = value;
        if (rounded != 0) {
            rounded[row * roundedStride + column] = type == F16 ? to_f16(value) : to_bf16(value);
        }
    }
};

// What one block does: up to 16 pairs of a sequence's rows and the query heads of a KV head, over some of its pages. A grid is
// (kvHeads * most chunks) x (most tiles of pairs) x sequences.
struct Work {
    int sequence;
    int kvHead;
    int firstRow;
    int firstPair;
    int pairs;
    int allPairs;  // of the sequence and this KV head
    // Of the sequence's first row.
    int position;
    int fromPage;
    int toPage;
    int chunk;
    int chunks;

    __device__ __forceinline__ bool few() const { return allPairs <= FEW_PAIRS; }

    // The row of the batch, the query head and the position of a pair.
    __device__ __forceinline__ int row(int pair, int group) const { return firstRow + (firstPair + pair) / group; }
    __device__ __forceinline__ int head(int pair, int group) const {
        return kvHead * group + (firstPair + pair) % group;
    }
    __device__ __forceinline__ int at(int pair, int group) const { return position + (firstPair + pair) / group; }
};

#define MOST_CHUNKS 32

// Pages of a chunk, more of those that are read in less time than a block takes to begin. It depends only on the sequence, as does
// the order in which chunks are merged: a sequence's result does not depend on the others in the batch.
DEVICE int chunk_pages(int pages, int type) {
    int share = (pages + MOST_CHUNKS - 1) / MOST_CHUNKS;
    int fewest = type == INT4 ? 32 : 16;
    return share < fewest ? fewest : share;
}

// A product whose score is capped: the score is then cap tanh(product scale / cap), inCaps being scale / cap, or 0 for no cap.
DEVICE float capped(float product, float inCaps) { return inCaps == 0 ? product : tanhf(product * inCaps) / inCaps; }

// A sum of weights relative to the largest score, with one more score that has no value.
DEVICE float with_sink(float total, float most, const float* sinks, int head) {
    return sinks == 0 ? total : total + expf(sinks[head] - most);
}

// False if this block has no work.
DEVICE bool find_work(const Batch& batch, int kvHeads, int group, int window, int type, int sequence, int tile, int kvHead, int chunk,
                      Work* work) {
    // Blocks are short: what they read first is read together, as no read waits for a branch.
    int first = batch.starts[sequence];
    int rows = batch.starts[sequence + 1] - first;
    int length = batch.lengths[sequence];
    int pairs = rows * group;
    if ((tile * PAIRS >= pairs) | (length == 0)) {
        return false;
    }
    work->sequence = sequence;
    work->kvHead = kvHead;
    work->allPairs = pairs;
    work->firstRow = first;
    work->firstPair = tile * PAIRS;
    work->pairs = pairs - tile * PAIRS < PAIRS ? pairs - tile * PAIRS : PAIRS;
    work->position = length - rows;
    int firstSeen = window > 0 ? work->at(0, group) - window + 1 : 0;
    int from = firstSeen > 0 ? firstSeen / TOKENS : 0;
    int to = work->at(work->pairs - 1, group) / TOKENS + 1;
    // With many rows there are enough tiles to fill the GPU.
    int share = pairs <= PAIRS ? chunk_pages(to - from, type) : to - from;
    work->chunk = chunk;
    work->chunks = (to - from + share - 1) / share;
    work->fromPage = from + chunk * share;
    work->toPage = to < work->fromPage + share ? to : work->fromPage + share;
    return chunk < work->chunks;
}

#endif
