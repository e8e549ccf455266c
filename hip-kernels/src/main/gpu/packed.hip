// QuantOps.packCodes and dequantizePacked: the definition of the layout is formats.packed. 32 codes of one output fill
// exactly as many words as a code has bits; a thread takes such a block.
#include "grid.h"

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

// codes U8 [in, out] to qweight [in * bits / 32, out]; a row of the launch is a block of 32 inputs.
KERNEL(256) pack_codes(int bits, const u8* codes, i64 codesStride, u32* qweight, i64 qweightStride, i64 outputs) {
    FOR_CHUNK(block, o, outputs) {
        u64 word = 0;
        int filled = 0;
        i64 row = block * bits;
        for (int i = 0; i < 32; i++) {
            u64 code = codes[(block * 32 + i) * codesStride + o] & ((1u << bits) - 1);
            word |= code << filled;
            filled += bits;
            if (filled >= 32) {
                qweight[row++ * qweightStride + o] = (u32)word;
                word >>= 32;
                filled -= 32;
            }
        }
    }
}

// scales F16 [G, out], qzeros [G, out * bits / 32]; zeroOffset is added to a stored zero point, modulo 2^bits.
KERNEL(256) dequantize_packed(int bits, int zeroOffset, const u32* qweight, i64 qweightStride, const u32* qzeros,
                              i64 qzerosStride, const u16* scales, i64 scalesStride, const int* groupOf, float* out,
                              i64 outStride, i64 outputs) {
    FOR_CHUNK(block, o, outputs) {
        int group = -1;
        int zero = 0;
        float scale = 0;
        for (int i = 0; i < 32; i++) {
            i64 input = block * 32 + i;
            if (groupOf[input] != group) {
                group = groupOf[input];
                zero = (unpack(qzeros + group * qzerosStride, 1, o, bits) + zeroOffset) & ((1 << bits) - 1);
                scale = from_f16(scales[group * scalesStride + o]);
            }
            int code = unpack(qweight + o, qweightStride, input, bits);
            out[input * outStride + o] = value_of(code, scale, zero);
        }
    }
}
