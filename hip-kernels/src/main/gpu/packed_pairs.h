// Packed codes of 4 and 8 bits, and the inputs to multiply with them, as pairs of F16 for the matrix units: eight neighbouring inputs
// of an output are a word, or two, and two steps.
#ifndef OPTGPTQ_PACKED_PAIRS_H
#define OPTGPTQ_PACKED_PAIRS_H
#include "packed.h"
#include "code_pairs.h"

#if MATRIX_UNITS

struct alignas(16) Words {
    u32 at[4];
};

// Weights, which are read once: they do not push what is read again out of the multiprocessor's cache.
DEVICE Words read_once(const u32* from) {
#if defined(__CUDACC__)
    Words words;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.at[0]), "=r"(words.at[1]), "=r"(words.at[2]), "=r"(words.at[3]) : "l"(from));
    return words;
#else
    return *(const Words*)from;
#endif
}

// The two pairs of a step, of 2, from the words of 8 inputs of one output.
template <int BITS> DEVICE void weight_pairs(u32 first, u32 second, int step, u32 base, u32 (&pair)[2]) {
    if (BITS == 4) {
        pair[0] = code_steps(first >> (step * 8) & 0x000f000fu, base);
        pair[1] = code_steps(first >> (step * 8 + 4) & 0x000f000fu, base);
    } else {
        u32 word = step == 0 ? first : second;
        pair[0] = code_steps((word & 0xffu) | (word & 0xff00u) << 8, base);
        pair[1] = code_steps((word >> 16 & 0xffu) | (word >> 8 & 0xff0000u), base);
    }
}

// The inputs to multiply with them, of 8 neighbours.
template <int BITS> DEVICE void input_pairs(const Words& inputs, int step, u32 (&pair)[2]) {
    if (BITS == 4) {
        pair[0] = lower_halves(inputs.at[step], inputs.at[step + 2]);
        pair[1] = upper_halves(inputs.at[step], inputs.at[step + 2]);
    } else {
        pair[0] = inputs.at[2 * step];
        pair[1] = inputs.at[2 * step + 1];
    }
}

// Codes as their bits lie, subnormal F16 of code / RAW_UNIT, which NVIDIA's matrix units multiply exactly: taking them out of their words
// is all there is to do. RAW_ONES is a pair of ones.
#define RAW_UNIT 0x1p24f
#define RAW_ONES 0x00010001u

// The two pairs of a step, of 2, from the words of 8 inputs of one output: of the inputs that input_pairs gives.
template <int BITS> DEVICE void raw_codes(u32 first, u32 second, int step, u32 (&pair)[2]) {
    if (BITS == 4) {
        pair[0] = first >> (step * 8) & 0x000f000fu;
        pair[1] = first >> (step * 8 + 4) & 0x000f000fu;
    } else {
        u32 word = step == 0 ? first : second;
        pair[0] = (word & 0xffu) | (word & 0xff00u) << 8;
        pair[1] = (word >> 16 & 0xffu) | (word >> 8 & 0xff0000u);
    }
}

// Two words that move as one.
struct alignas(8) Pair {
    u32 at[2];
};

// The zero points of four neighbouring outputs, as they are stored, first output lowest; own is divisible by 4.
template <int BITS> DEVICE u32 four_zeros(const Packed& layer, i64 group, int own) {
    const u32* row = layer.qzeros + group * layer.qzerosStride;
    return BITS == 4 ? (u32)((const u16*)row)[own / 4] : row[own / 4];
}

// That of output j of the four.
template <int BITS> DEVICE int zero_point(const Packed& layer, u32 zeros, int j) {
    return (int)(((zeros >> (j * BITS)) + (u32)layer.zeroOffset) & ((1u << BITS) - 1));
}

// What is subtracted from its codes: 1024 + its zero point, twice.
template <int BITS> DEVICE u32 zero_base(const Packed& layer, u32 zeros, int j) {
    return (0x6400u | (u32)zero_point<BITS>(layer, zeros, j)) * 0x10001u;
}

#endif

#endif
