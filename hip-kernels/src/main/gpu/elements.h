// Elements of the float dtypes, and how a launch is spread over the elements of a matrix.
#ifndef OPTGPTQ_ELEMENTS_H
#define OPTGPTQ_ELEMENTS_H
#include "portability.h"

// Codes that Extent.java passes.
#define F32 0
#define F64 1
#define F16 2
#define BF16 3

// Neighbouring elements of one row that a block of an elementwise kernel covers: the grid is rows * ceil(columns / CHUNK).
#define CHUNK 1024

// for (column of this block's chunk) with row set; columns of different threads of a wave are neighbours.
#define FOR_CHUNK(row, column, columns)                                          \
    u32 chunks_ = (u32)(((columns) + CHUNK - 1) / CHUNK);                        \
    i64 row = blockIdx.x / chunks_;                                              \
    i64 from_ = (i64)(blockIdx.x % chunks_) * CHUNK;                             \
    i64 to_ = least(from_ + CHUNK, (columns));                                   \
    for (i64 column = from_ + threadIdx.x; column < to_; column += blockDim.x)

template <int TYPE> DEVICE float half_value(u16 bits) { return TYPE == BF16 ? from_bf16(bits) : from_f16(bits); }

// Exact for all but F64.
DEVICE float load_float(const void* data, i64 at, int dtype) {
    switch (dtype) {
        case F64: return (float)((const double*)data)[at];
        case F16: return from_f16(((const u16*)data)[at]);
        case BF16: return from_bf16(((const u16*)data)[at]);
        default: return ((const float*)data)[at];
    }
}

DEVICE void store_float(void* data, i64 at, int dtype, float value) {
    switch (dtype) {
        case F64: ((double*)data)[at] = value; break;
        case F16: ((u16*)data)[at] = to_f16(value); break;
        case BF16: ((u16*)data)[at] = to_bf16(value); break;
        default: ((float*)data)[at] = value; break;
    }
}

// Rounds to odd: an inexact value becomes the neighbouring float with an odd last bit, which keeps it off the ties of any
// type narrower by two bits or more, so rounding again is right (FloatRounding.java).
DEVICE float to_odd_float(double value) {
    float nearest = (float)value;
    if ((double)nearest == value || value != value) {
        return nearest;
    }
    u32 bits = __float_as_uint(nearest);
    double size = value < 0 ? -value : value;
    double rounded = nearest < 0 ? -(double)nearest : (double)nearest;
    if (rounded > size) {
        bits -= 1;  // towards zero: one less in magnitude
    }
    return __uint_as_float(bits | 1u);
}

#endif
