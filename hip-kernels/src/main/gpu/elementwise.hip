// Sums and differences, element by element. A stride of 0 repeats one row.
#include "elements.h"

// x += y
KERNEL(256) add_to(float* x, i64 xStride, const float* y, i64 yStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        x[row * xStride + column] += y[row * yStride + column];
    }
}

// target = a - b; target may be a or b
KERNEL(256) subtract(const float* a, i64 aStride, const float* b, i64 bStride, float* target, i64 targetStride,
                     i64 columns) {
    FOR_CHUNK(row, column, columns) {
        target[row * targetStride + column] = a[row * aStride + column] - b[row * bStride + column];
    }
}

// x += y on and above the diagonal of x's diagonal blocks, of so many columns each; y has the blocks one under the other, and the
// last one may be smaller. x is read and written nowhere else.
KERNEL(256) add_upper_blocks(float* x, i64 xStride, i64 n, const float* y, i64 yStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 inBlock = row % columns;
        i64 at = row - inBlock + column;
        if (column >= inBlock && at < n) {
            x[row * xStride + at] += y[row * yStride + column];
        }
    }
}

// x = factor x
KERNEL(256) scale(float* x, i64 xStride, float factor, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = mul(factor, *at);
    }
}

// out[row] = factors[row] x[row]
KERNEL(256) scale_rows(const float* x, i64 xStride, const float* factors, float* out, i64 outStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        out[row * outStride + column] = mul(factors[row], x[row * xStride + column]);
    }
}
