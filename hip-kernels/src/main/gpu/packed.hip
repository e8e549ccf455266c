// QuantOps.packCodes and dequantizePacked, and the last step of linearPacked. A thread of the first two takes 32 codes of one
// output.
#include "packed.h"

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

KERNEL(256) dequantize_packed(int bits, PACKED_ARGUMENTS, float* out, i64 outStride) {
    Packed layer = PACKED_LAYER;
    FOR_CHUNK(block, o, outputs) {
        int group = -1;
        int zero = 0;
        float scale = 0;
        for (int i = 0; i < PACKED; i++) {
            i64 input = block * PACKED + i;
            if (groupOf[input] != group) {
                group = groupOf[input];
                zero = layer.zero(group, o, bits);
                scale = layer.scale(group, o);
            }
            int code = unpack(qweight + o, qweightStride, input, bits);
            out[input * outStride + o] = value_of(code, scale, zero);
        }
    }
}

// The same in fp16/bf16.
KERNEL(256) dequantize_halves(int bits, PACKED_ARGUMENTS, u16* out, i64 outStride, int type) {
    Packed layer = PACKED_LAYER;
    FOR_CHUNK(block, o, outputs) {
        int group = -1;
        int zero = 0;
        float scale = 0;
        for (int i = 0; i < PACKED; i++) {
            i64 input = block * PACKED + i;
            if (groupOf[input] != group) {
                group = groupOf[input];
                zero = layer.zero(group, o, bits);
                scale = layer.scale(group, o);
            }
            store_float(out, input * outStride + o, type, value_of(unpack(qweight + o, qweightStride, input, bits), scale, zero));
        }
    }
}

// y = bias + beta y + the sum of the parts, in order: parts [count, rows, columns], y [rows, columns]; bias may be null, and beta
// 0 never reads y.
KERNEL(256) sum_parts(const float* parts, int count, const float* bias, float beta, float* y, i64 yStride, i64 rows,
                      i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float sum = bias == 0 ? 0.0f : bias[column];
        sum = beta == 0 ? sum : fmaf(beta, y[row * yStride + column], sum);
        for (int part = 0; part < count; part++) {
            sum += parts[(part * rows + row) * columns + column];
        }
        y[row * yStride + column] = sum;
    }
}
