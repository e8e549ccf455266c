// NeuralOps.attention in fp16/bf16 on the matrix units: out = softmax(q k^T scale + bias) v, as in attention.hip, after
// FlashAttention-2 (arXiv 2307.08691, algorithm 1). A block takes 64 queries of one head, 16 to a wave, and walks over tiles of
// keys and values in shared memory; queries, scores, the softmax's weights and the sums stay in registers. Weights are rounded to
// fp16/bf16 before they multiply values; their sum is taken before the rounding.
#include "attention_shape.h"
#include "matrix_units.h"
#include "reduce.h"

#define WAVE_QUERIES 16
#define WAVES 4
#define BLOCK_QUERIES (WAVES * WAVE_QUERIES)
#define HALVES_THREADS (WAVES * GPU_WAVE)
#define LOG2_E 1.4426950408889634f

#if MATRIX_UNITS

struct Halves {
    const u16* at;
    i64 stride;
    bool aligned;

    static __device__ __forceinline__ Halves of(const u16* data, i64 stride, i64 sequence, int head, int columns) {
        const u16* at = data + sequence * stride + (i64)head * columns;
        return Halves{at, stride, (u64)at % 16 == 0 && stride % 8 == 0 && columns % 8 == 0};
    }
};

// Starts to copy rows from .. from + KEYS to tile[row][d], rows PITCH apart; zero outside.
template <int KEYS, int WIDTH, int PITCH, class Tile>
DEVICE void copy_tile(Halves rows, int from, const Shape& shape, Tile tile) {
    if (rows.aligned) {
        #pragma unroll
        for (int i = threadIdx.x; i < KEYS * (WIDTH / 8); i += HALVES_THREADS) {
            int row = i / (WIDTH / 8);
            int d = i % (WIDTH / 8) * 8;
            bool inside = from + row < shape.length && d < shape.headDim;
            copy_16(&tile[row * PITCH + d], inside ? rows.at + (from + row) * rows.stride + d : rows.at, inside);
        }
        return;
    }
    // Rare, and not worth registers.
    #pragma unroll 1
    for (int i = threadIdx.x; i < KEYS * WIDTH; i += HALVES_THREADS) {
        int row = i / WIDTH;
        int d = i % WIDTH;
        bool inside = from + row < shape.length && d < shape.headDim;
        tile[row * PITCH + d] = inside ? rows.at[(from + row) * rows.stride + d] : (u16)0;
    }
}

// Scores become weights in place; updates the running maximum and sum of each of the lane's queries, and rescales the output so
// far.
template <int TILES, int COLUMNS>
DEVICE void online_softmax(float (&score)[TILES][TILE_SUMS], float (&most)[SLOTS], float (&total)[SLOTS],
                           float (&sum)[COLUMNS][TILE_SUMS]) {
    float factor[SLOTS];
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        float top = most[s];
        #pragma unroll
        for (int t = 0; t < TILES; t++) {
            #pragma unroll
            for (int e = 0; e < TILE_SUMS; e++) {
                top = slot_of(e) == s ? fmaxf(top, score[t][e]) : top;
            }
        }
        top = across_others<Larger>(top);
        // No key seen so far: the maximum is -infinity and the difference would be NaN.
        float base = top == -infinity() ? 0.0f : top;
        factor[s] = power_of_two(most[s] - base);
        most[s] = top;
        float added = 0;
        #pragma unroll
        for (int t = 0; t < TILES; t++) {
            #pragma unroll
            for (int e = 0; e < TILE_SUMS; e++) {
                if (slot_of(e) == s) {
                    score[t][e] = power_of_two(score[t][e] - base);
                    added += score[t][e];
                }
            }
        }
        total[s] = fmaf(total[s], factor[s], added);
    }
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            sum[c][e] *= factor[slot_of(e)];
        }
    }
}

// All keys of a tile for some of the head's elements at a time: independent sums.
template <int TYPE, int WIDTH, int KEYS, int PITCH>
DEVICE void scores(const Operand (&query)[WIDTH / 16], const u16* keys, float (&score)[KEYS / 16][TILE_SUMS]) {
    #pragma unroll
    for (int t = 0; t < KEYS / 16; t++) {
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            score[t][e] = 0;
        }
    }
    #pragma unroll
    for (int c = 0; c < WIDTH / 16; c++) {
        #pragma unroll
        for (int t = 0; t < KEYS / 16; t++) {
            multiply_keys<TYPE>(score[t], query[c], keys + t * 16 * PITCH + c * 16, PITCH);
        }
    }
}

template <int TYPE, int WIDTH, int KEYS>
DEVICE void attend(const u16* q, i64 qStride, const u16* k, i64 kStride, const u16* v, i64 vStride,
                   const float* slopes, float* out, i64 outStride, Shape shape) {
    constexpr int PITCH = WIDTH + 8;  // rows begin in different banks
    SHARED(u16, keyTile, KEYS * PITCH);
    SHARED(u16, valueTile, KEYS * PITCH);
    int head = blockIdx.y;
    int kvHead = head / (shape.heads / shape.kvHeads);
    // The last queries of a sequence see most keys: longest blocks first.
    int first = (gridDim.x - 1 - blockIdx.x) * BLOCK_QUERIES;
    int mine = first + threadIdx.x / GPU_WAVE * WAVE_QUERIES;
    i64 sequence = (i64)blockIdx.z * shape.length;
    Halves queryRows = Halves::of(q, qStride, sequence, head, shape.headDim);
    Halves keys = Halves::of(k, kStride, sequence, kvHead, shape.headDim);
    Halves values = Halves::of(v, vStride, sequence, kvHead, shape.headDim);
    float scale = shape.scale * LOG2_E;
    float slope = slopes == 0 ? 0.0f : slopes[head] * LOG2_E;

    Operand query[WIDTH / 16];
    float sum[WIDTH / 16][TILE_SUMS];
    #pragma unroll
    for (int c = 0; c < WIDTH / 16; c++) {
        query[c] = queries([&](int row, int d) -> u16 {
            bool inside = mine + row < shape.length && c * 16 + d < shape.headDim;
            return inside ? queryRows.at[(mine + row) * queryRows.stride + c * 16 + d] : (u16)0;
        });
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            sum[c][e] = 0;
        }
    }
    float most[SLOTS];
    float total[SLOTS];
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        most[s] = -infinity();
        total[s] = 0;
    }

    int last = first + BLOCK_QUERIES < shape.length ? first + BLOCK_QUERIES : shape.length;  // one past the last query
    int from = shape.first_keys(first, KEYS);
    copy_tile<KEYS, WIDTH, PITCH>(keys, from, shape, keyTile);
    for (; from < last; from += KEYS) {
        await_copies();
        __syncthreads();  // keys have arrived, and the previous values are no longer needed
        copy_tile<KEYS, WIDTH, PITCH>(values, from, shape, valueTile);
        float score[KEYS / 16][TILE_SUMS];
        scores<TYPE, WIDTH, KEYS, PITCH>(query, &keyTile[0], score);
        bool all = from + KEYS - 1 <= mine && mine + WAVE_QUERIES <= shape.length
            && (shape.window == 0 || from > mine + WAVE_QUERIES - 1 - shape.window);
        if (all && slope == 0) {
            #pragma unroll
            for (int t = 0; t < KEYS / 16; t++) {
                #pragma unroll
                for (int e = 0; e < TILE_SUMS; e++) {
                    score[t][e] *= scale;
                }
            }
        } else {
            #pragma unroll
            for (int t = 0; t < KEYS / 16; t++) {
                #pragma unroll
                for (int e = 0; e < TILE_SUMS; e++) {
                    int i = mine + query_of(slot_of(e));
                    int j = from + t * 16 + other_of(e);
                    score[t][e] = shape.sees(i, j) ? fmaf(score[t][e], scale, slope * (j - i)) : -infinity();
                }
            }
        }
        online_softmax(score, most, total, sum);
        await_copies();
        __syncthreads();  // values have arrived, and the keys are no longer needed
        if (from + KEYS < last) {
            copy_tile<KEYS, WIDTH, PITCH>(keys, from + KEYS, shape, keyTile);
        }
        #pragma unroll
        for (int t = 0; t < KEYS / 16; t++) {
            Operand weight = weights<TYPE>(score[t]);
            #pragma unroll
            for (int c = 0; c < WIDTH / 16; c++) {
                multiply_values<TYPE>(sum[c], weight, &valueTile[t * 16 * PITCH + c * 16], PITCH);
            }
        }
    }
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        total[s] = 1 / across_others<Sum>(total[s]);
    }
    #pragma unroll
    for (int c = 0; c < WIDTH / 16; c++) {
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            int i = mine + query_of(slot_of(e));
            int d = c * 16 + other_of(e);
            if (i < shape.length && d < shape.headDim) {
                out[(sequence + i) * outStride + (i64)head * shape.headDim + d] = sum[c][e] * total[slot_of(e)];
            }
        }
    }
}

// Without a cap, sinks or values of another width than keys: those go through a library's matmuls (GpuAttention.java).
// The grid is ceil(length / 64) x heads x sequences; slopes may be null. The number is the largest headDim.
#define ARGUMENTS const u16 *q, i64 qStride, const u16 *k, i64 kStride, const u16 *v, i64 vStride, \
                  const float *slopes, float *out, i64 outStride, int length, int heads, int kvHeads, \
                  int headDim, float scale, int window

KERNEL(HALVES_THREADS) attention_f16_64(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, headDim, scale, 0, window};
    attend<F16, 64, 64>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}

KERNEL(HALVES_THREADS) attention_f16_128(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, headDim, scale, 0, window};
    attend<F16, 128, 64>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}

KERNEL(HALVES_THREADS) attention_bf16_64(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, headDim, scale, 0, window};
    attend<BF16, 64, 64>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}

KERNEL(HALVES_THREADS) attention_bf16_128(ARGUMENTS) {
    Shape shape = {length, heads, kvHeads, headDim, headDim, scale, 0, window};
    attend<BF16, 128, 64>(q, qStride, k, kStride, v, vStride, slopes, out, outStride, shape);
}

#endif
