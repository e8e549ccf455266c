// NeuralOps.convert: target = source between float dtypes, rounded once to nearest even.
#include "elements.h"

KERNEL(256) convert(const void* source, int from, i64 sourceStride, void* target, int to, i64 targetStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 in = row * sourceStride + column;
        i64 out = row * targetStride + column;
        if (from != F64) {
            store_float(target, out, to, load_float(source, in, from));
            continue;
        }
        double value = ((const double*)source)[in];
        if (to == F64) {
            ((double*)target)[out] = value;
        } else {
            store_float(target, out, to, to == F32 ? (float)value : to_odd_float(value));
        }
    }
}

// A float32 or float16 as a sum of bfloat16, exactly: each part is what the ones before left over, rounded. third may be null where
// two are enough. The parts are dense.
KERNEL(256) split(const void* source, int from, i64 stride, u16* first, u16* second, u16* third, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 out = row * columns + column;
        float rest = load_float(source, row * stride + column, from);
        first[out] = to_bf16(rest);
        rest -= from_bf16(first[out]);
        second[out] = to_bf16(rest);
        if (third != 0) {
            third[out] = to_bf16(rest - from_bf16(second[out]));
        }
    }
}
