// QuantOps.linearPacked in F16 on the matrix units with waves of 32, for 17 to 128 rows, from the weights as they are stored, as
// in packed_few.hip. A block takes 128 outputs and 32 or 64 rows: its waves are 4 across the outputs and 2 along the inputs. The
// inputs of all rows are put into shared memory, in the order in which codes leave their words, and are read by four waves. Every lane
// copies the words that it will multiply to its own place in shared memory, some steps ahead. Weights are dequantized in F16, as for
// the library's matmul with more rows. Where blocks share the inputs, the last of them to come sums their parts in order: bits do
// not depend on which that is.
#include "packed_shares.h"

#if MATRIX_UNITS && ROWS_LAYOUT

// Inputs at a time, of all waves, and how many pieces of 8.
#define STEP (WAVES_ALONG * PACKED)
#define STEP_PIECES (STEP / 8)
// Steps whose inputs are there or on their way.
#define STAGES 3
// Of the words that lanes copy for themselves.
#define RING_WORDS (16 * UNIT_THREADS)

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

// Where a row's piece of 8 inputs lies in shared memory: of neighbouring rows in other banks.
DEVICE int place_of(int row, int piece) { return (row * STEP_PIECES + (piece ^ row % 2 * 4)) * 4; }

#define ARGUMENTS int groupSize, int groupShift, const u16 *x, i64 xStride, int rows, i64 inputs, float beta, Four *parts, \
                  LINEAR(0), int shares0, LINEAR(1), int shares1, LINEAR(2), int shares2
#define VALUES groupSize, groupShift, x, xStride, rows, inputs, beta, parts, NAMES(0), shares0, NAMES(1), shares1, NAMES(2), shares2

template <int BITS, int TILES> DEVICE void multiply(ARGUMENTS) {
    constexpr int ROWS = TILES * TILE_ROWS;
    constexpr int LOADS = BITS / 4;
    // 16 bytes of inputs that a thread brings into shared memory at a time.
    constexpr int PIECES = ROWS * STEP_PIECES / UNIT_THREADS;
    constexpr int STAGE = ROWS * STEP_PIECES * 4;
    constexpr int AHEAD = RING_WORDS / (4 * LOADS * UNIT_THREADS);
    // Groups of copies before the first step.
    constexpr int BEFORE = AHEAD > STAGES ? AHEAD - 1 : STAGES - 1;
    // What a thread has of a block's sums once the waves along have met.
    constexpr int OWN_TILES = TILES / WAVES_ALONG;
    constexpr int OWN_FOURS = OUTPUT_TILES * OWN_TILES;
    SHARED(u32, memory, STAGES * STAGE + RING_WORDS);
    int thread = threadIdx.x;
    int wave = thread / GPU_WAVE;
    int waveAcross = wave % WAVES_ACROSS;
    int waveAlong = wave / WAVES_ACROSS;
    Place place = find(blockIdx.x, outputs0, shares0, outputs1, shares1, outputs2, shares2);
    int own = place.own(waveAcross);
    int top = blockIdx.y * ROWS;
    int lastBlock = (int)inputs / PACKED - 1;
    int steps = ((int)inputs + STEP - 1) / STEP;
    int begin = (int)((i64)steps * place.share / place.shares);
    int end = (int)((i64)steps * (place.share + 1) / place.shares);
    int stride = (int)OF(place.which, qweightStride);
    const u32* words = OF(place.which, qweight) + own + quarter() * LOADS * stride;
    int scalesStride = (int)OF(place.which, scalesStride);
    const u16* scaleRows = OF(place.which, scales) + own;
    int zerosStride = (int)OF(place.which, qzerosStride) * 4;
    const u8* zeroRows = (const u8*)OF(place.which, qzeros) + own * BITS / 8;
    Packed layer = {OF(place.which, zeroOffset), 0, 0, 0, 0, 0, 0, 0, 0, 0};
    u32* ring = &memory[STAGES * STAGE + 4 * LOADS * thread];
    // Rows of x that are not there are read as the last one: nobody stores what comes of them.
    const u16* from = x + 8 * (thread % STEP_PIECES);
    int offset[PIECES];
    #pragma unroll
    for (int p = 0; p < PIECES; p++) {
        int row = top + thread / STEP_PIECES + p * (UNIT_THREADS / STEP_PIECES);
        offset[p] = (row < rows ? row : rows - 1) * (int)xStride;
    }

    constexpr int PIECE_APART = UNIT_THREADS * 4;
    int own_place = place_of(thread / STEP_PIECES, thread % STEP_PIECES);

    // The block of 32 inputs of a step that this wave multiplies.
    auto block_of = [&](int step) { return step * WAVES_ALONG + waveAlong; };
    auto send_weights = [&](int step) {
        bool there = step < end && block_of(step) <= lastBlock;
        const u32* at = words + (i64)(there ? block_of(step) * BITS : 0) * stride;
        #pragma unroll
        for (int l = 0; l < LOADS; l++) {
            copy_16(ring + (step % AHEAD * LOADS * UNIT_THREADS + l) * 4, at + l * stride, there);
        }
    };
    // Inputs beyond the end are any: their weights are 0.
    auto send_inputs = [&](int step, int stage) {
        int input = step * STEP + 8 * (thread % STEP_PIECES) < (int)inputs ? step * STEP : 0;
        #pragma unroll
        for (int p = 0; p < PIECES; p++) {
            copy_16(&memory[stage * STAGE + own_place + p * PIECE_APART], from + (offset[p] + input), step < end);
        }
    };
    // Puts what this thread has copied in the order in which it is multiplied.
    auto order = [&](int stage) {
        #pragma unroll
        for (int p = 0; p < PIECES; p++) {
            Words* at = (Words*)&memory[stage * STAGE + own_place + p * PIECE_APART];
            *at = ordered<BITS>(*at);
        }
    };
    #pragma unroll
    for (int a = 0; a < BEFORE; a++) {
        if (a < AHEAD - 1) {
            send_weights(begin + a);
        }
        if (a < STAGES - 1) {
            send_inputs(begin + a, a);
        }
        group_copies();
    }
    await_group<BEFORE - 1>();
    order(0);
    float sum[OUTPUT_TILES][TILES][TILE_PART];
    clear<OUTPUT_TILES, TILES>(sum);
    int stage = 0;
    #pragma unroll 1
    for (int step = begin; step < end; step++) {
        // What all have put in order is there, and nobody reads the stage before any more.
        __syncthreads();
        int after = stage == STAGES - 1 ? 0 : stage + 1;
        int before = stage == 0 ? STAGES - 1 : stage - 1;
        send_weights(step + AHEAD - 1);
        send_inputs(step + STAGES - 1, before);
        group_copies();
        bool there = block_of(step) <= lastBlock;
        int group = groupShift >= 0 ? step >> groupShift : (int)((u32)((there ? block_of(step) : 0) * PACKED) / (u32)groupSize);
        const u8* zeroRow = zeroRows + (i64)group * zerosStride;
        u32 zeros = BITS == 4 ? *(const u16*)zeroRow : *(const u32*)zeroRow;
        Pair scales = *(const Pair*)(scaleRows + (i64)group * scalesStride);
        if (!there) {
            scales = Pair{{0, 0}};
        }
        await_group<STAGES - 2>();
        order(after);
        Words codes[LOADS];
        #pragma unroll
        for (int l = 0; l < LOADS; l++) {
            codes[l] = *(const Words*)(ring + (step % AHEAD * LOADS * UNIT_THREADS + l) * 4);
        }
        u32 weights[2][OUTPUT_TILES][4];
        #pragma unroll
        for (int j = 0; j < 4; j++) {
            u32 zero = zero_base<BITS>(layer, zeros, j);
            u32 scale = scales.at[j / 2];
            scale = j % 2 == 0 ? lower_halves(scale, scale) : upper_halves(scale, scale);
            #pragma unroll
            for (int s = 0; s < 2; s++) {
                u32 pair[2];
                weight_pairs<BITS>(codes[0].at[j], codes[LOADS - 1].at[j], s, zero, pair);
                weights[s][j / 2][j % 2] = times(pair[0], scale);
                weights[s][j / 2][j % 2 + 2] = times(pair[1], scale);
            }
        }
        #pragma unroll
        for (int n = 0; n < TILES; n++) {
            Words in = *(const Words*)(&memory[stage * STAGE] + place_of(n * TILE_ROWS + across_lane(), 4 * waveAlong + quarter()));
            #pragma unroll
            for (int s = 0; s < 2; s++) {
                #pragma unroll
                for (int t = 0; t < OUTPUT_TILES; t++) {
                    Operand factor = {{weights[s][t][0], weights[s][t][1], weights[s][t][2], weights[s][t][3]}};
                    multiply_8<F16>(sum[t][n], factor, in.at[2 * s], in.at[2 * s + 1]);
                }
            }
        }
        stage = after;
    }
    // A wave gives the other one along the inputs the sums of half the rows, and gets those of the other half. Copies of steps that are
    // not there write zeros until they are awaited.
    await_copies();
    __syncthreads();
    auto given = [&](int i, int along) {
        return (Four*)&memory[0] + (i * WAVES + along * WAVES_ACROSS + waveAcross) * GPU_WAVE + lane_of_wave();
    };
    Four total[OWN_FOURS];
    #pragma unroll
    for (int i = 0; i < OWN_FOURS; i++) {
        Four other;
        #pragma unroll
        for (int c = 0; c < TILE_PART; c++) {
            float first = sum[i / OWN_TILES][i % OWN_TILES][c];
            float second = sum[i / OWN_TILES][i % OWN_TILES + OWN_TILES][c];
            total[i].at[c] = waveAlong == 0 ? first : second;
            other.at[c] = waveAlong == 0 ? second : first;
        }
        *given(i, 1 - waveAlong) = other;
    }
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < OWN_FOURS; i++) {
        Four other = *given(i, waveAlong);
        #pragma unroll
        for (int c = 0; c < TILE_PART; c++) {
            total[i].at[c] += other.at[c];
        }
    }
    // Found anew: kept, it would take registers in the loop.
    place = find(per_thread(blockIdx.x), outputs0, shares0, outputs1, shares1, outputs2, shares2);
    __syncthreads();
    if (place.shares > 1 && !sum_shares<OWN_FOURS>(total, place, parts, &memory[0])) {
        return;
    }
    const float* bias = OF(place.which, bias);
    float* y = OF(place.which, y);
    i64 yStride = OF(place.which, yStride);
    own = place.wanted(waveAcross);
    if (own >= place.outputs) {
        return;
    }
    #pragma unroll
    for (int n = 0; n < OWN_TILES; n++) {
        #pragma unroll
        for (int c = 0; c < 2; c++) {
            int row = top + (waveAlong * OWN_TILES + n) * TILE_ROWS + 2 * quarter() + c;
            if (row < rows) {
                #pragma unroll
                for (int j = 0; j < 4; j++) {
                    float result = bias == 0 ? 0.0f : bias[own + j];
                    result = beta == 0 ? result : fmaf(beta, y[row * yStride + own + j], result);
                    y[row * yStride + own + j] = result + total[j / 2 * OWN_TILES + n].at[c + j % 2 * 2];
                }
            }
        }
    }
}

// The grid is the sum over the linears of ceil(outputs / 128) shares, x ceil(rows / (8 tiles)). parts holds 1024 F32 for each tile of 8 rows
// of each block, and may be null where no linear has several shares. Rows of qweight and of x begin at multiples of 16 bytes, rows of
// scales at multiples of 8; inputs of a group are neighbours, a multiple of 32; groups are 2^groupShift steps of 64, unless it is
// negative. A bias [outputs] may be null; beta 0 never reads y.
// The compiler for NVIDIA's older GPUs would spill registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define WIDE_BESIDE 1
#else
#define WIDE_BESIDE 2
#endif
#define KERNEL_OF(width, tiles, beside) \
    KERNEL_BESIDE(UNIT_THREADS, beside) bits##width##_tiles##tiles(ARGUMENTS) { multiply<width, tiles>(VALUES); }
KERNEL_OF(4, 4, 2)
KERNEL_OF(4, 8, WIDE_BESIDE)
KERNEL_OF(8, 4, 2)
KERNEL_OF(8, 8, 1)

#endif
