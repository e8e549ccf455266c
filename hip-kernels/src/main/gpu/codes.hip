// QuantOps.quantize and dequantize. wt F32 and codes U8 [in, out]; scales F32 and zeros I32 [G, out]; groupOf [in].
#include "grid.h"

KERNEL(256) quantize(const float* wt, i64 wtStride, const float* scales, i64 scalesStride, const int* zeros,
                     i64 zerosStride, const int* groupOf, int maxCode, u8* codes, i64 codesStride, i64 outputs) {
    FOR_CHUNK(i, o, outputs) {
        i64 group = groupOf[i];
        codes[i * codesStride + o] = (u8)code_of(wt[i * wtStride + o], scales[group * scalesStride + o],
                                                 zeros[group * zerosStride + o], maxCode);
    }
}

KERNEL(256) dequantize(const u8* codes, i64 codesStride, const float* scales, i64 scalesStride, const int* zeros,
                       i64 zerosStride, const int* groupOf, float* out, i64 outStride, i64 outputs) {
    FOR_CHUNK(i, o, outputs) {
        i64 group = groupOf[i];
        out[i * outStride + o] = value_of(codes[i * codesStride + o], scales[group * scalesStride + o],
                                          zeros[group * zerosStride + o]);
    }
}
