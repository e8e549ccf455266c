// Codes and halves as the matrix units take them: how the lanes of a wave share a factor, and pairs of codes as fp16. Codes become
// halves by their bits: with those of 1024 above them they are 1024 and more, which is subtracted exactly.
#ifndef OPTGPTQ_CODE_PAIRS_H
#define OPTGPTQ_CODE_PAIRS_H
#include "matrix_units.h"

#if MATRIX_UNITS

// Which of 4 runs of a row's elements this lane holds, and of which row.
DEVICE int quarter() { return ROWS_LAYOUT ? lane_of_wave() % 4 : lane_of_wave() / 16; }
DEVICE int across_lane() { return ROWS_LAYOUT ? lane_of_wave() / 4 : lane_of_wave() % 16; }

// Two codes, in the lower and the upper half of a word, less two times a zero point, as F16; base is zero + 1024 twice.
DEVICE u32 code_steps(u32 codes, u32 base) {
    u32 above = codes | 0x64006400u;
#if defined(EMULATOR)
    return to_f16(from_f16((u16)above) - from_f16((u16)base))
        | (u32)to_f16(from_f16((u16)(above >> 16)) - from_f16((u16)(base >> 16))) << 16;
#elif defined(__CUDACC__)
    u32 steps;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(steps) : "r"(above), "r"(base));
    return steps;
#else
    typedef _Float16 Halves __attribute__((ext_vector_type(2)));
    return __builtin_bit_cast(u32, __builtin_bit_cast(Halves, above) - __builtin_bit_cast(Halves, base));
#endif
}

// The lower, or upper, halves of two words.
#if defined(__CUDACC__)
DEVICE u32 lower_halves(u32 a, u32 b) { return __byte_perm(a, b, 0x5410); }
DEVICE u32 upper_halves(u32 a, u32 b) { return __byte_perm(a, b, 0x7632); }
#else
DEVICE u32 lower_halves(u32 a, u32 b) { return (a & 0xffffu) | b << 16; }
DEVICE u32 upper_halves(u32 a, u32 b) { return a >> 16 | (b & 0xffff0000u); }
#endif

#endif

#endif
