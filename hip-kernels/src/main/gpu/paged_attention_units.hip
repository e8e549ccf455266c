// CacheOps.attend on the matrix units, for pages in fp16/bf16, 8 and 4 bits: as paged_attention.hip, with the 16 pairs of a
// block as the queries of a tile. A wave multiplies whole pages, of which a lane reads its share straight into registers, 16
// bytes at a time: a sum over a head's elements, or over a page's tokens, does not depend on the order in which they are
// multiplied, so neighbours in memory can be used as a factor directly. The waves of a block take pages in turn and are merged in
// their order. Codes are multiplied as they are, in fp16. A key is scale * code + minimum, so that q k = scale (q codes) + minimum
// (sum of q); the scale of a value goes into the weight that multiplies its codes, and weights times minima are summed beside it.
#include "page_shares.h"
#include "reduce.h"

#define WAVES 4
#define UNIT_THREADS (WAVES * GPU_WAVE)

#if MATRIX_UNITS

// The token of a lane's 4 that element e of its scores is of.
DEVICE int own_token(int e) { return ROWS_LAYOUT ? 2 * (e >> 2) + (e & 1) : e; }

// sums of scores += queries times the keys of a step.
template <int TYPE> DEVICE void multiply_step(float (&score)[TILE_SUMS], const Operand& query, int t, const u32 (&pair)[2]) {
#if ROWS_LAYOUT
    multiply_8<TYPE>(score + 4 * t, query, pair[0], pair[1]);
#else
    Operand keys = {{pair[0], pair[1]}};
    multiply_16<TYPE>(score, keys, query);
#endif
}

// sum += weights times element e of the page's values.
template <int TYPE> DEVICE void multiply_values_of(float (&sum)[4], const Operand& weight, u32 first, u32 second) {
#if ROWS_LAYOUT
    multiply_8<TYPE>(sum, weight, first, second);
#else
    Operand values = {{first, second}};
    multiply_16<TYPE>(sum, values, weight);
#endif
}

// Which of the lane's queries part c of its sums belongs to, and the lane across whose elements these are.
DEVICE int sum_slot(int c) { return ROWS_LAYOUT ? c >> 1 : 0; }
DEVICE int sum_lane(int c) { return ROWS_LAYOUT ? 2 * quarter() + (c & 1) : 4 * quarter() + c; }

template <int TYPE, int WIDTH>
DEVICE void attend(const float* q, i64 qStride, Pages keys, Pages values, Batch batch, const float* slopes, const float* sinks,
                   Outputs out, int kvHeads, int group, float scale, float inCaps, int window, float* parts, int mostChunks,
                   int partPairs) {
    typedef KeyShare<TYPE, WIDTH> Keys;
    typedef ValueShare<TYPE, WIDTH> Values;
    constexpr int FACTOR = Stored<TYPE>::FACTOR;
    constexpr int STEPS = WIDTH / 16;
    constexpr int TOKEN_WORDS = WIDTH * Stored<TYPE>::BITS / 32;
    constexpr int PITCH = WIDTH + 4;
    SHARED(float, waveSums, WAVES * PAIRS * PITCH);
    SHARED(float, waveMost, WAVES * PAIRS);
    SHARED(float, waveTotal, WAVES * PAIRS);
    int wave = threadIdx.x / GPU_WAVE;
    Work work;
    if (!find_work(batch, kvHeads, group, window, TYPE, blockIdx.z, blockIdx.y, blockIdx.x % kvHeads, blockIdx.x / kvHeads, &work)
        || (ROWS_LAYOUT && work.few())) {
        return;
    }
    Operand query[STEPS];
    float querySum[SLOTS];
    int position[SLOTS];
    float slope[SLOTS];
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        int pair = query_of(s);
        bool real = pair < work.pairs;
        const float* row = q + work.row(pair, group) * qStride + (i64)work.head(pair, group) * WIDTH;
        position[s] = work.at(pair, group);
        slope[s] = slopes == 0 || !real ? 0.0f : slopes[work.head(pair, group)] * LOG2_E;
        float sum = 0;
        #pragma unroll
        for (int step = 0; step < STEPS; step++) {
            #pragma unroll
            for (int i = 0; i < 4; i += 2) {
                float first = real ? row[Keys::element(step, i)] : 0.0f;
                float second = real ? row[Keys::element(step, i + 1)] : 0.0f;
                u32 pairOfHalves = packed_pair<FACTOR>(first * Keys::factor(i), second * Keys::factor(i));
                query[step].pair[ROWS_LAYOUT ? i + s : i / 2] = pairOfHalves;
                sum += (half_value<FACTOR>((u16)pairOfHalves) + half_value<FACTOR>((u16)(pairOfHalves >> 16))) / Keys::factor(i);
            }
        }
        querySum[s] = Stored<TYPE>::CODES ? across_others<Sum>(sum) : 0.0f;
    }
    scale *= LOG2_E;
    float sum[Values::COUNT][4];
    #pragma unroll
    for (int e = 0; e < Values::COUNT; e++) {
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            sum[e][c] = 0;
        }
    }
    float most[SLOTS];
    float total[SLOTS];
    float least[SLOTS];  // the sum of weights times minima
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        most[s] = -infinity();
        total[s] = 0;
        least[s] = 0;
    }
    int end = work.at(work.pairs - 1, group) + 1;
    const int* table = batch.table + work.sequence * batch.tableStride;
    #pragma unroll 1
    for (int index = work.fromPage + wave; index < work.toPage; index += WAVES) {
        i64 row = (i64)table[index] * kvHeads + work.kvHead;
        int first = index * TOKENS;
        int there = end - first;  // tokens of the page that are there
        u32 key[KEY_TILES][Keys::WORDS];
        #pragma unroll
        for (int t = 0; t < KEY_TILES; t++) {
            const u32* from = (const u32*)((const u8*)keys.elements + row * keys.stride * (Stored<TYPE>::CODES ? 1 : 2))
                + key_token(t) * TOKEN_WORDS + quarter() * Keys::RUN;
            read<Keys::WORDS, Keys::RUN>(from, QUARTERS * Keys::RUN, key_token(t) < there, key[t]);
        }
        u32 value[4][Values::WORDS];
        int nibbles = 0;
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            int token = 4 * quarter() + i;
            const u8* from = (const u8*)values.elements + row * values.stride * (Stored<TYPE>::CODES ? 1 : 2);
            if (Values::COUNT * Stored<TYPE>::BITS >= 32) {
                read<Values::WORDS, Values::RUN>((const u32*)from + token * TOKEN_WORDS + across_lane() * Values::RUN,
                                                 ACROSS * Values::RUN, token < there, value[i]);
            } else {
                // Half a word to a lane.
                nibbles = across_lane() % 2 * 16;
                read<Values::WORDS, Values::RUN>((const u32*)from + token * TOKEN_WORDS + across_lane() / 2, 0,
                                                 token < there, value[i]);
            }
        }
        Grid4 keyGrid;
        Grid4 valueGrid;
        if (Stored<TYPE>::CODES) {
            keyGrid = read_grid(keys.grids + row * keys.gridStride, there);
            valueGrid = read_grid(values.grids + row * values.gridStride, there);
        }
        float score[TILE_SUMS];
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            score[e] = 0;
        }
        #pragma unroll
        for (int step = 0; step < STEPS; step++) {
            #pragma unroll
            for (int t = 0; t < KEY_TILES; t++) {
                u32 pair[2];
                Keys::pairs(key[t], step, pair);
                multiply_step<FACTOR>(score, query[step], t, pair);
            }
        }
        float top[SLOTS];
        #pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            top[s] = most[s];
        }
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            int s = slot_of(e);
            int j = first + 4 * quarter() + own_token(e);
            float product = Stored<TYPE>::CODES
                ? fmaf(score[e], keyGrid.scale[own_token(e)] * CODE_UNIT, keyGrid.minimum[own_token(e)] * querySum[s])
                : score[e];
            bool sees = j <= position[s] && (window == 0 || j > position[s] - window);
            score[e] = sees ? fmaf(capped(product, inCaps), scale, slope[s] * (j - position[s])) : -infinity();
            top[s] = fmaxf(top[s], score[e]);
        }
        bool grown = false;
        float factor[SLOTS];
        float base[SLOTS];
        #pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            top[s] = across_others<Larger>(top[s]);
            grown |= top[s] > most[s];
            // No key seen so far: the maximum is -infinity and the difference would be NaN.
            base[s] = top[s] == -infinity() ? 0.0f : top[s];
            factor[s] = power_of_two(most[s] - base[s]);
            most[s] = top[s];
            total[s] *= factor[s];
            least[s] *= factor[s];
        }
        if (ballot(grown ? 1 : 0) != 0) {
            #pragma unroll
            for (int e = 0; e < Values::COUNT; e++) {
                #pragma unroll
                for (int c = 0; c < 4; c++) {
                    sum[e][c] *= factor[sum_slot(c)];
                }
            }
        }
        #pragma unroll
        for (int e = 0; e < TILE_SUMS; e++) {
            int s = slot_of(e);
            float weight = power_of_two(score[e] - base[s]);
            total[s] += weight;
            score[e] = weight;
            if (Stored<TYPE>::CODES) {
                least[s] = fmaf(weight, valueGrid.minimum[own_token(e)], least[s]);
                score[e] = weight * valueGrid.scale[own_token(e)];
            }
        }
        Operand weight = weights<FACTOR>(score);
        #pragma unroll
        for (int e = 0; e < Values::COUNT; e++) {
            multiply_values_of<FACTOR>(sum[e], weight, Values::pair(value[0], value[1], e, nibbles),
                                       Values::pair(value[2], value[3], e, nibbles));
        }
    }
    #pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        total[s] = across_others<Sum>(total[s]);
        least[s] = Stored<TYPE>::CODES ? across_others<Sum>(least[s]) : 0.0f;
        if (quarter() == 0) {
            waveMost[wave * PAIRS + query_of(s)] = most[s];
            waveTotal[wave * PAIRS + query_of(s)] = total[s];
        }
    }
    #pragma unroll
    for (int e = 0; e < Values::COUNT; e++) {
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            int s = sum_slot(c);
            waveSums[(wave * PAIRS + query_of(s)) * PITCH + Values::element(e, sum_lane(c))] =
                fmaf(sum[e][c], Values::factor(e), least[s]);
        }
    }
    __syncthreads();
    float* part = parts + (((i64)work.sequence * kvHeads + work.kvHead) * mostChunks + work.chunk) * partPairs * (WIDTH + 2);
    for (int i = threadIdx.x; i < work.pairs * WIDTH; i += UNIT_THREADS) {
        int pair = i / WIDTH;
        int d = i % WIDTH;
        float largest = -infinity();
        for (int w = 0; w < WAVES; w++) {
            largest = fmaxf(largest, waveMost[w * PAIRS + pair]);
        }
        float all = 0;
        float merged = 0;
        for (int w = 0; w < WAVES; w++) {
            float own = waveMost[w * PAIRS + pair];
            float share = own == -infinity() ? 0.0f : power_of_two(own - largest);
            all = fmaf(waveTotal[w * PAIRS + pair], share, all);
            merged = fmaf(waveSums[(w * PAIRS + pair) * PITCH + d], share, merged);
        }
        if (work.chunks == 1) {
            out.store(work.row(pair, group), (i64)work.head(pair, group) * WIDTH + d,
                      merged / with_sink(all, largest * LN_2, sinks, work.head(pair, group)));
        } else {
            part[(i64)pair * (WIDTH + 2) + 2 + d] = merged;
            if (d == 0) {
                part[(i64)pair * (WIDTH + 2)] = largest * LN_2;
                part[(i64)pair * (WIDTH + 2) + 1] = all;
            }
        }
    }
}

// As in paged_attention.hip; heads are of WIDTH elements, and rows of pages begin at multiples of 16 bytes.
#define ARGUMENTS const float *q, i64 qStride, const void *keys, i64 keyStride, const u16 *keyGrids, i64 keyGridStride,      \
                  const void *values, i64 valueStride, const u16 *valueGrids, i64 valueGridStride, const int *table,         \
                  i64 tableStride, const int *lengths, const int *starts, const float *slopes, const float *sinks, float *out,   \
                  i64 outStride, u16 *rounded, int roundedType, i64 roundedStride, int kvHeads, int group, float scale,      \
                  float inCaps, int window, float *parts, int mostChunks, int partPairs
#define KERNEL_OF(name, type, width)                                                                                        \
    KERNEL(UNIT_THREADS) attend_##name##_##width(ARGUMENTS) {                                                               \
        attend<type, width>(q, qStride, Pages{keys, keyStride, keyGrids, keyGridStride},                                    \
                            Pages{values, valueStride, valueGrids, valueGridStride},                                        \
                            Batch{table, tableStride, lengths, starts}, slopes, sinks,                                      \
                            Outputs{out, outStride, rounded, roundedType, roundedStride}, kvHeads, group, scale, inCaps,    \
                            window, parts, mostChunks, partPairs);                                                          \
    }
#define KERNELS(width)              \
    KERNEL_OF(f16, F16, width)      \
    KERNEL_OF(bf16, BF16, width)    \
    KERNEL_OF(int8, INT8, width)    \
    KERNEL_OF(int4, INT4, width)

KERNELS(64)
KERNELS(128)

#endif
