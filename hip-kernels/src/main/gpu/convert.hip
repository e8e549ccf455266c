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
