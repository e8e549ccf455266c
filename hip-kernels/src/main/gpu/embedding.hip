// NeuralOps.embed: out[r] = table[ids[r]]; ids [N], table [V, d] of any float dtype, out F32 [N, d].
#include "elements.h"

// An id outside the vocabulary gives a row of NaN: no memory is touched, and the loss becomes NaN.
KERNEL(256) embed(const int* ids, const void* table, int dtype, i64 tableStride, i64 vocabulary, float* out,
                  i64 outStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 id = ids[row];
        out[row * outStride + column] = id >= 0 && id < vocabulary
            ? load_float(table, id * tableStride + column, dtype) : not_a_number();
    }
}
