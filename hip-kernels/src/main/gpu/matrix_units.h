// fp16/bf16 matmuls on the matrix units: a wave multiplies tiles of 16 x 16 and sums in float32, in the layouts of the GPUs' own
// instructions. Those with waves of 32 (NVIDIA from sm_80) and of 64 (AMD from gfx90a) hold a tile of queries x others so:
//
//   waves of 32: the tile as it is. A lane holds two queries, lane / 4 and that + 8, and of each two pairs of others.
//   waves of 64: the tile transposed. A lane holds one query, lane % 16, and four neighbours of the others.
//
// In both, the sums of a first matmul, packed to fp16/bf16, are the left factor of a second one: the softmax's weights never leave
// the registers. The emulator has the same instructions, lane by lane.
#ifndef OPTGPTQ_MATRIX_UNITS_H
#define OPTGPTQ_MATRIX_UNITS_H
#include "elements.h"

#if defined(EMULATOR)
#define MATRIX_UNITS 1
#elif defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define MATRIX_UNITS 1
#endif
#elif defined(__gfx90a__) || defined(__gfx940__) || defined(__gfx941__) || defined(__gfx942__) || defined(__gfx950__)
#define MATRIX_UNITS 1
#endif
#ifndef MATRIX_UNITS
#define MATRIX_UNITS 0
#endif

#define ROWS_LAYOUT (GPU_WAVE == 32)
// A lane's share of a tile's sums, and of the queries.
#define TILE_SUMS (256 / GPU_WAVE)
#define SLOTS (ROWS_LAYOUT ? 2 : 1)

// A lane's share of a 16 x 16 factor in fp16/bf16, in pairs.
struct Operand {
    u32 pair[128 / GPU_WAVE];
};

#if MATRIX_UNITS

DEVICE int lane_of_wave() { return threadIdx.x % GPU_WAVE; }

// Which of the lane's queries element e of its sums belongs to, which query of the tile that is, and which of the others.
DEVICE int slot_of(int e) { return ROWS_LAYOUT ? (e >> 1) & 1 : 0; }
DEVICE int query_of(int slot) { return ROWS_LAYOUT ? lane_of_wave() / 4 + 8 * slot : lane_of_wave() % 16; }
DEVICE int other_of(int e) {
    return ROWS_LAYOUT ? (e >> 2) * 8 + 2 * (lane_of_wave() % 4) + (e & 1) : 4 * (lane_of_wave() / 16) + e;
}

// Over the lanes that hold the same queries.
template <class Reduction> DEVICE float across_others(float value) {
    int lane = lane_of_wave();
    int step = ROWS_LAYOUT ? 1 : 16;
    value = Reduction::of(value, wave_shuffle(value, lane ^ step));
    return Reduction::of(value, wave_shuffle(value, lane ^ (2 * step)));
}

// Two floats to fp16/bf16, the first in the low bits.
template <int TYPE> DEVICE u32 packed_pair(float first, float second) {
#if defined(__CUDACC__)
    u32 pair;
    if (TYPE == BF16) {
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    } else {
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    }
    return pair;
#else
    u32 low = TYPE == BF16 ? to_bf16(first) : to_f16(first);
    u32 high = TYPE == BF16 ? to_bf16(second) : to_f16(second);
    return low | high << 16;
#endif
}

// 2^x for x up to 0, whose result may be flushed to 0.
DEVICE float power_of_two(float x) {
#if defined(__CUDACC__)
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#else
    return exp2f(x);
#endif
}

// Queries as the factor of scores: element (query, d) of the tile is rows(query, d), its bits.
template <class Rows> DEVICE Operand queries(Rows rows) {
    Operand operand;
    #pragma unroll
    for (int p = 0; p < 128 / GPU_WAVE; p++) {
        int query = query_of(ROWS_LAYOUT ? p & 1 : 0);
        int d = ROWS_LAYOUT ? 2 * (lane_of_wave() % 4) + 8 * (p >> 1) : 4 * (lane_of_wave() / 16) + 2 * p;
        operand.pair[p] = rows(query, d) | (u32)rows(query, d + 1) << 16;
    }
    return operand;
}

// A tile's sums as the left factor of the next matmul.
template <int TYPE> DEVICE Operand weights(const float (&sums)[TILE_SUMS]) {
    Operand operand;
    #pragma unroll
    for (int p = 0; p < 128 / GPU_WAVE; p++) {
        operand.pair[p] = packed_pair<TYPE>(sums[2 * p], sums[2 * p + 1]);
    }
    return operand;
}

#if ROWS_LAYOUT

#if defined(EMULATOR)

// Register m of lane l: elements 2 (l % 4) and + 1 of row l / 4 of matrix m, whose rows lanes 8 m .. 8 m + 7 point at.
DEVICE void load_matrices(u32 (&pair)[4], const u16* row) {
    const u16* from[GPU_WAVE];
    emulator::gather((u64)row, (u64*)from);
    for (int m = 0; m < 4; m++) {
        const u16* at = from[8 * m + lane_of_wave() / 4] + 2 * (lane_of_wave() % 4);
        pair[m] = at[0] | (u32)at[1] << 16;
    }
}

// The same of the matrices transposed.
DEVICE void load_transposed(u32 (&pair)[4], const u16* row) {
    const u16* from[GPU_WAVE];
    emulator::gather((u64)row, (u64*)from);
    for (int m = 0; m < 4; m++) {
        int at = 8 * m + 2 * (lane_of_wave() % 4);
        pair[m] = from[at][lane_of_wave() / 4] | (u32)from[at + 1][lane_of_wave() / 4] << 16;
    }
}

// A matrix of 8 x 8, of which lane l holds elements 2 (l % 4) and + 1 of row l / 4, transposed.
DEVICE u32 transposed(u32 pair) {
    u64 rows[GPU_WAVE];
    emulator::gather(pair, rows);
    int row = lane_of_wave() / 4;
    int at = 8 * (lane_of_wave() % 4) + row / 2;
    int shift = 16 * (row % 2);
    return (u16)(rows[at] >> shift) | (u32)(u16)(rows[at + 4] >> shift) << 16;
}

// sums [16, 8] += left [16, 16] right [16, 8].
template <int TYPE> DEVICE void multiply_8(float* sums, const Operand& left, u32 right0, u32 right1) {
    u64 rows[2][GPU_WAVE];
    u64 columns[GPU_WAVE];
    emulator::gather(left.pair[0] | (u64)left.pair[2] << 32, rows[0]);
    emulator::gather(left.pair[1] | (u64)left.pair[3] << 32, rows[1]);
    emulator::gather(right0 | (u64)right1 << 32, columns);
    for (int e = 0; e < 4; e++) {
        int row = lane_of_wave() / 4;
        int column = 2 * (lane_of_wave() % 4) + (e & 1);
        for (int k = 0; k < 16; k++) {
            int shift = 32 * (k / 8) + 16 * (k % 2);
            u16 a = (u16)(rows[e >> 1][row * 4 + k % 8 / 2] >> shift);
            u16 b = (u16)(columns[column * 4 + k % 8 / 2] >> shift);
            sums[e] = fmaf(half_value<TYPE>(a), half_value<TYPE>(b), sums[e]);
        }
    }
}

#else

DEVICE void load_matrices(u32 (&pair)[4], const u16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pair[0]), "=r"(pair[1]), "=r"(pair[2]), "=r"(pair[3]) : "r"(shared_address(row)) : "memory");
}

DEVICE void load_transposed(u32 (&pair)[4], const u16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pair[0]), "=r"(pair[1]), "=r"(pair[2]), "=r"(pair[3]) : "r"(shared_address(row)) : "memory");
}

DEVICE u32 transposed(u32 pair) {
    u32 other;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(other) : "r"(pair));
    return other;
}

#define MULTIPLY(type)                                                                                  \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, "     \
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                      \
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                         \
                 : "r"(left.pair[0]), "r"(left.pair[1]), "r"(left.pair[2]), "r"(left.pair[3]), "r"(right0), "r"(right1))

template <int TYPE> DEVICE void multiply_8(float* sums, const Operand& left, u32 right0, u32 right1) {
    if (TYPE == BF16) {
        MULTIPLY("bf16");
    } else {
        MULTIPLY("f16");
    }
}

#endif

// sums(query, key) += the sum over 16 d of queries(query, d) keys(key, d). keys points at the tile's first element in shared
// memory, whose rows are pitch elements apart, a multiple of 8.
template <int TYPE>
DEVICE void multiply_keys(float (&sums)[TILE_SUMS], const Operand& queries, const u16* keys, int pitch) {
    int lane = lane_of_wave();
    u32 right[4];
    load_matrices(right, keys + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8);
    multiply_8<TYPE>(sums, queries, right[0], right[1]);
    multiply_8<TYPE>(sums + 4, queries, right[2], right[3]);
}

// sums(query, d) += the sum over 16 keys of weights(query, key) values(key, d).
template <int TYPE>
DEVICE void multiply_values(float (&sums)[TILE_SUMS], const Operand& weights, const u16* values, int pitch) {
    int lane = lane_of_wave();
    u32 right[4];
    load_transposed(right, values + (lane / 8 % 2 * 8 + lane % 8) * pitch + lane / 16 * 8);
    multiply_8<TYPE>(sums, weights, right[0], right[1]);
    multiply_8<TYPE>(sums + 4, weights, right[2], right[3]);
}

#else

// sums [16, 16] += left [16, 16] right [16, 16]: lane l holds 4 neighbours k = 4 (l / 16) .. of left's row l % 16 and of right's
// column l % 16, and of the sums rows 4 (l / 16) .. of column l % 16.
#if defined(EMULATOR)
template <int TYPE> DEVICE void multiply_16(float (&sums)[TILE_SUMS], const Operand& left, const Operand& right) {
    u64 rows[GPU_WAVE];
    u64 columns[GPU_WAVE];
    emulator::gather(left.pair[0] | (u64)left.pair[1] << 32, rows);
    emulator::gather(right.pair[0] | (u64)right.pair[1] << 32, columns);
    for (int e = 0; e < TILE_SUMS; e++) {
        for (int k = 0; k < 16; k++) {
            u16 a = (u16)(rows[k / 4 * 16 + 4 * (lane_of_wave() / 16) + e] >> 16 * (k % 4));
            u16 b = (u16)(columns[k / 4 * 16 + lane_of_wave() % 16] >> 16 * (k % 4));
            sums[e] = fmaf(half_value<TYPE>(a), half_value<TYPE>(b), sums[e]);
        }
    }
}
#else
typedef float FourFloats __attribute__((ext_vector_type(4)));
typedef short FourShorts __attribute__((ext_vector_type(4)));
typedef _Float16 FourHalves __attribute__((ext_vector_type(4)));

template <int TYPE> DEVICE void multiply_16(float (&sums)[TILE_SUMS], const Operand& left, const Operand& right) {
    FourFloats c = {sums[0], sums[1], sums[2], sums[3]};
    if (TYPE == BF16) {
        c = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(__builtin_bit_cast(FourShorts, left),
                                                      __builtin_bit_cast(FourShorts, right), c, 0, 0, 0);
    } else {
        c = __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(FourHalves, left),
                                                  __builtin_bit_cast(FourHalves, right), c, 0, 0, 0);
    }
    #pragma unroll
    for (int e = 0; e < 4; e++) {
        sums[e] = c[e];
    }
}
#endif

template <int TYPE>
DEVICE void multiply_keys(float (&sums)[TILE_SUMS], const Operand& queries, const u16* keys, int pitch) {
    int lane = lane_of_wave();
    Operand left;
    const u32* row = (const u32*)(keys + lane % 16 * pitch + 4 * (lane / 16));
    left.pair[0] = row[0];
    left.pair[1] = row[1];
    multiply_16<TYPE>(sums, left, queries);
}

template <int TYPE>
DEVICE void multiply_values(float (&sums)[TILE_SUMS], const Operand& weights, const u16* values, int pitch) {
    int lane = lane_of_wave();
    Operand left;
    const u16* column = values + 4 * (lane / 16) * pitch + lane % 16;
    left.pair[0] = column[0] | (u32)column[pitch] << 16;
    left.pair[1] = column[2 * pitch] | (u32)column[3 * pitch] << 16;
    multiply_16<TYPE>(sums, left, weights);
}

#endif
#endif
#endif
