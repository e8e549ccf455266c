// The packed layout of GPTQ layers (the definition is formats.packed): 32 codes of one output fill exactly as many words as a
// code has bits.
#ifndef OPTGPTQ_PACKED_H
#define OPTGPTQ_PACKED_H
#include "grid.h"

// Inputs that are packed into whole words, whatever the bits.
#define PACKED 32

// Code i of a stream of words of which neighbours are stride apart.
DEVICE int unpack(const u32* words, i64 stride, i64 i, int bits) {
    i64 bit = i * bits;
    int shift = (int)(bit % 32);
    u32 code = words[bit / 32 * stride] >> shift;
    if (shift + bits > 32) {
        code |= words[(bit / 32 + 1) * stride] << (32 - shift);
    }
    return (int)(code & ((1u << bits) - 1));
}

// The tensors of a layer: qweight [in * bits / 32, out], qzeros [G, out * bits / 32], scales F16 [G, out], groupOf [in];
// zeroOffset is added to a stored zero point, modulo 2^bits.
struct Packed {
    int zeroOffset;
    const u32* qweight;
    i64 qweightStride;
    const u32* qzeros;
    i64 qzerosStride;
    const u16* scales;
    i64 scalesStride;
    const int* groupOf;
    i64 inputs;
    i64 outputs;

    __device__ __forceinline__ int zero(i64 group, i64 o, int bits) const {
        return (unpack(qzeros + group * qzerosStride, 1, o, bits) + zeroOffset) & ((1 << bits) - 1);
    }

    __device__ __forceinline__ float scale(i64 group, i64 o) const { return from_f16(scales[group * scalesStride + o]); }
};

#define PACKED_ARGUMENTS int zeroOffset, const u32 *qweight, i64 qweightStride, const u32 *qzeros, i64 qzerosStride, \
                         const u16 *scales, i64 scalesStride, const int *groupOf, i64 inputs, i64 outputs
#define PACKED_LAYER \
    {zeroOffset, qweight, qweightStride, qzeros, qzerosStride, scales, scalesStride, groupOf, inputs, outputs}

// A code as a float without a conversion instruction, which is slow on some GPUs: the code becomes the last bits of 2^23 + code,
// from which 2^23 + zero is subtracted exactly.
#define CODE_BASE 0x4b000000u
DEVICE float code_base(int zero) { return __uint_as_float(CODE_BASE | (u32)zero); }

// Code i of the 32 of which the words are in registers; i is known when the loop around is unrolled.
template <int BITS, class Words> DEVICE float code_float(const Words& words, int i) {
    int word = i * BITS / 32;
    int shift = i * BITS % 32;
    u32 code = words[word] >> shift;
    if (shift + BITS > 32) {
        code |= words[word + 1] << (32 - shift);
    }
    return __uint_as_float((code & ((1u << BITS) - 1)) | CODE_BASE);
}

#endif
