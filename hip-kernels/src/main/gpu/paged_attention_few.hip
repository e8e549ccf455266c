// CacheOps.attend on the matrix units with waves of 32, for sequences of which at most 8 pairs of a row and a query head share a
// KV head: decoding. As paged_attention_units.hip, with the tile transposed: 16 tokens x 8 pairs, so that no half of a tile is empty,
// and a lane has half the sums. The softmax's weights become a factor of the next matmul by transposing two 8 x 8 matrices in
// registers. A wave moves its maximum only when a score is far above it.
#include "page_stream.h"
#include "reduce.h"

#if MATRIX_UNITS && ROWS_LAYOUT

#define UNIT_THREADS (WAVES * GPU_WAVE)
// By how much scores may be above the maximum, in powers of 2: weights are then up to 16, in fp16.
#define SLACK 4

// Over the lanes that hold the same pairs.
template <class Reduction> DEVICE float across_tokens(float value) {
    #pragma unroll
    for (int step = 4; step < GPU_WAVE; step *= 2) {
        value = Reduction::of(value, wave_shuffle(value, lane_of_wave() ^ step));
    }
    return value;
}

// Where element d of a row lies in shared memory.
DEVICE int spread(int d) { return d + d / 16; }

DEVICE float scale_of(u32 grid) { return from_f16((u16)grid); }
DEVICE float minimum_of(u32 grid) { return from_f16((u16)(grid >> 16)); }

template <int TYPE, int WIDTH>
DEVICE void attend(const float* q, i64 qStride, Pages keys, Pages values, Batch batch, const float* slopes, const float* sinks,
                   Outputs out, int kvHeads, int group, float scale, float inCaps, int window, float* parts,
                   int mostChunks, int partPairs) {
    typedef KeyShare<TYPE, WIDTH> Keys;
    typedef ValueShare<TYPE, WIDTH> Values;
    constexpr int FACTOR = Stored<TYPE>::FACTOR;
    constexpr int STEPS = WIDTH / 16;
    constexpr int TILES = Values::COUNT / 2;
    // A word is left out after every 16, and rows begin in other banks, so that lanes do not meet.
    constexpr int PITCH = WIDTH + WIDTH / 16 + 4;
    typedef Stream<TYPE, WIDTH, Stored<TYPE>::CODES> OwnPages;
    constexpr int TOGETHER = OwnPages::TOGETHER;
    constexpr int MERGE_WORDS = WAVES * FEW_PAIRS * (PITCH + 2);
    SHARED(u32, memory, OwnPages::SHARED_WORDS > MERGE_WORDS ? OwnPages::SHARED_WORDS : MERGE_WORDS);
    int wave = threadIdx.x / GPU_WAVE;
    Work work;
    if (!find_work(batch, kvHeads, group, window, TYPE, blockIdx.z, 0, blockIdx.x % kvHeads, blockIdx.x / kvHeads, &work)
        || !work.few()) {
        return;
    }
    OwnPages stream = {keys, values, batch.table + work.sequence * batch.tableStride, kvHeads, work.kvHead, work.toPage - 1};
    u32* stages = &memory[wave * (OwnPages::SHARED_WORDS / WAVES)];
    stream.plan(work.fromPage + wave);
    // Of pairs that are not there, any: their scores are not seen.
    int ownPair = across_lane() < work.pairs ? across_lane() : 0;
    const float* queryRow = q + work.row(ownPair, group) * qStride + (i64)work.head(ownPair, group) * WIDTH;
    Four own[STEPS];
    #pragma unroll
    for (int step = 0; step < STEPS; step++) {
        own[step] = four(queryRow + Keys::run(step));
    }
    stream.start(stages, work.fromPage + wave);
    u32 query[STEPS][2];
    float ownSum = 0;
    #pragma unroll
    for (int step = 0; step < STEPS; step++) {
        #pragma unroll
        for (int i = 0; i < 4; i += 2) {
            float first = Keys::of(own, step, i) * Keys::factor(i);
            u32 pair = packed_pair<FACTOR>(first, Keys::of(own, step, i + 1) * Keys::factor(i));
            query[step][i / 2] = pair;
            ownSum += (half_value<FACTOR>((u16)pair) + half_value<FACTOR>((u16)(pair >> 16))) / Keys::factor(i);
        }
    }
    ownSum = across_others<Sum>(ownSum);
    // Of the pairs 2 quarter and + 1, whose scores this lane has.
    float querySum[2];
    int position[2];
    int before[2];  // keys that the pair does not see, at the beginning
    int seen[2];    // and how many after them it does, of this chunk and those before it
    float slope[2];
    float most[2];
    float total[2];
    float base[2];   // the same, or 0 as long as no key was seen
    float least[2];  // the sum of weights times minima
    #pragma unroll
    for (int s = 0; s < 2; s++) {
        int pair = 2 * quarter() + s;
        bool real = pair < work.pairs;
        querySum[s] = wave_shuffle(ownSum, 4 * pair);
        position[s] = real ? work.at(pair, group) : -1;
        before[s] = window > 0 && position[s] >= window ? position[s] - window + 1 : 0;
        int after = position[s] + 1 < work.toPage * TOKENS ? position[s] + 1 : work.toPage * TOKENS;
        seen[s] = after > before[s] ? after - before[s] : 0;
        slope[s] = slopes == 0 || !real ? 0.0f : slopes[work.head(pair, group)] * LOG2_E;
        most[s] = -infinity();
        base[s] = 0;
        total[s] = 0;
        least[s] = 0;
    }
    scale *= LOG2_E;
    float sum[TILES][4];
    #pragma unroll
    for (int m = 0; m < TILES; m++) {
        #pragma unroll
        for (int c = 0; c < 4; c++) {
            sum[m][c] = 0;
        }
    }
    int end = work.at(work.pairs - 1, group) + 1;
    end = end < work.toPage * TOKENS ? end : work.toPage * TOKENS;
    #pragma unroll 1
    for (int index = work.fromPage + wave; index < work.toPage; index += TOGETHER * WAVES) {
        Page<TYPE, WIDTH> page[TOGETHER];
        stream.load(index, page);
        float score[TOGETHER][4];
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            int first = (index + p * WAVES) * TOKENS;
            if (end - first < TOKENS) {
                page[p].cut(end - first);
            }
            // In two sums, so that a matmul need not wait for the one before.
            float odd[4] = {0, 0, 0, 0};
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                score[p][e] = 0;
            }
            #pragma unroll
            for (int step = 0; step < STEPS; step++) {
                u32 upper[2];
                u32 lower[2];
                Keys::pairs(page[p].key[0], step, upper);
                Keys::pairs(page[p].key[1], step, lower);
                Operand tokens = {{upper[0], lower[0], upper[1], lower[1]}};
                multiply_8<FACTOR>(step % 2 == 0 ? score[p] : odd, tokens, query[step][0], query[step][1]);
            }
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                u32 grid = page[p].keyGrid[e >> 1];
                score[p][e] += odd[e];
                if (Stored<TYPE>::CODES) {
                    score[p][e] = fmaf(score[p][e], scale_of(grid) * CODE_UNIT, minimum_of(grid) * querySum[e & 1]);
                }
            }
        }
        if (inCaps != 0) {
            #pragma unroll
            for (int p = 0; p < TOGETHER; p++) {
                #pragma unroll
                for (int e = 0; e < 4; e++) {
                    score[p][e] = capped(score[p][e], inCaps);
                }
            }
        }
        bool above = false;
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                int s = e & 1;
                int j = (index + p * WAVES) * TOKENS + key_token(e >> 1);
                float found = fmaf(score[p][e], scale, slope[s] * (j - position[s]));
                score[p][e] = (u32)(j - before[s]) < (u32)seen[s] ? found : -infinity();
                above |= score[p][e] > most[s] + SLACK;
            }
        }
        if (ballot(above ? 1 : 0) != 0) {
            #pragma unroll
            for (int s = 0; s < 2; s++) {
                float top = most[s];
                #pragma unroll
                for (int p = 0; p < TOGETHER; p++) {
                    top = fmaxf(top, fmaxf(score[p][s], score[p][s + 2]));
                }
                top = across_tokens<Larger>(top);
                // No key seen so far: the maximum is -infinity and the difference would be NaN.
                base[s] = top == -infinity() ? 0.0f : top;
                float factor = power_of_two(most[s] - base[s]);
                most[s] = top;
                total[s] *= factor;
                least[s] *= factor;
                #pragma unroll
                for (int m = 0; m < TILES; m++) {
                    sum[m][s] *= factor;
                    sum[m][s + 2] *= factor;
                }
            }
        }
        stream.load_values(page);
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                int s = e & 1;
                float weight = power_of_two(score[p][e] - base[s]);
                total[s] += weight;
                score[p][e] = weight;
                if (Stored<TYPE>::CODES) {
                    u32 grid = page[p].valueGrid[e >> 1];
                    least[s] = fmaf(weight, minimum_of(grid), least[s]);
                    score[p][e] = weight * scale_of(grid);
                }
            }
            u32 weights[2] = {transposed(packed_pair<FACTOR>(score[p][0], score[p][1])),
                              transposed(packed_pair<FACTOR>(score[p][2], score[p][3]))};
            #pragma unroll
            for (int m = 0; m < TILES; m++) {
                u32 (&value)[4][Values::WORDS] = page[p].value;
                Operand elements = {{Values::pair(value[0], value[1], 2 * m, 0), Values::pair(value[0], value[1], 2 * m + 1, 0),
                                     Values::pair(value[2], value[3], 2 * m, 0), Values::pair(value[2], value[3], 2 * m + 1, 0)}};
                multiply_8<FACTOR>(sum[m], elements, weights[0], weights[1]);
            }
        }
        stream.done(index);
    }
    float* waveSums = (float*)&memory[0];
    float* waveMost = waveSums + WAVES * FEW_PAIRS * PITCH;
    float* waveTotal = waveMost + WAVES * FEW_PAIRS;
    // Other waves may still read their stages.
    __syncthreads();
    #pragma unroll
    for (int s = 0; s < 2; s++) {
        int pair = 2 * quarter() + s;
        total[s] = across_tokens<Sum>(total[s]);
        least[s] = Stored<TYPE>::CODES ? across_tokens<Sum>(least[s]) : 0.0f;
        if (across_lane() == 0) {
            waveMost[wave * FEW_PAIRS + pair] = most[s];
            waveTotal[wave * FEW_PAIRS + pair] = total[s];
        }
        #pragma unroll
        for (int e = 0; e < 2 * TILES; e++) {
            waveSums[(wave * FEW_PAIRS + pair) * PITCH + spread(Values::element(e, across_lane()))] =
                fmaf(sum[e / 2][2 * (e % 2) + s], Values::factor(e), least[s]);
        }
    }
    __syncthreads();
    float* part = parts + (((i64)work.sequence * kvHeads + work.kvHead) * mostChunks + work.chunk) * partPairs * (WIDTH + 2);
    for (int i = threadIdx.x; i < work.pairs * WIDTH; i += UNIT_THREADS) {
        int pair = i / WIDTH;
        int d = i % WIDTH;
        float largest = -infinity();
        for (int w = 0; w < WAVES; w++) {
            largest = fmaxf(largest, waveMost[w * FEW_PAIRS + pair]);
        }
        float all = 0;
        float merged = 0;
        for (int w = 0; w < WAVES; w++) {
            float own = waveMost[w * FEW_PAIRS + pair];
            float share = own == -infinity() ? 0.0f : power_of_two(own - largest);
            all = fmaf(waveTotal[w * FEW_PAIRS + pair], share, all);
            merged = fmaf(waveSums[(w * FEW_PAIRS + pair) * PITCH + spread(d)], share, merged);
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

// As in paged_attention_units.hip.
#define ARGUMENTS const float *q, i64 qStride, const void *keys, i64 keyStride, const u16 *keyGrids, i64 keyGridStride,      \
                  const void *values, i64 valueStride, const u16 *valueGrids, i64 valueGridStride, const int *table,         \
                  i64 tableStride, const int *lengths, const int *starts, const float *slopes, const float *sinks, float *out,   \
                  i64 outStride, u16 *rounded, int roundedType, i64 roundedStride, int kvHeads, int group, float scale,      \
                  float inCaps, int window, float *parts, int mostChunks, int partPairs
#define KERNEL_OF(name, type, width)                                                                                        \
    KERNEL(UNIT_THREADS) attend_##name##_##width(ARGUMENTS) { \
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
