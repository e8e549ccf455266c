// Sums over rows, for the gradients of parameters that all rows share: GradientOps.addRowsInto and the weights of norms. Two steps,
// whose order depends only on the shape: chunks of 256 rows to partial sums, and these to the target.
#include "elements.h"

#define SUM_THREADS 256
#define COLUMNS 32
// Threads that share a column; the first takes rows 0, 8, 16 of a chunk, and so on.
#define LANES (SUM_THREADS / COLUMNS)
#define CHUNK_ROWS 256

// The term: x itself.
struct Plain {
    const float* x;
    i64 stride;

    __device__ __forceinline__ float at(i64 row, i64 column) const { return x[row * stride + column]; }
};

// dOut n, with n = (x - centre) / deviation of the row.
struct OfNorm {
    const float* x;
    i64 xStride;
    const float* dOut;
    i64 dOutStride;
    const float* centres;
    const float* inverses;

    __device__ __forceinline__ float at(i64 row, i64 column) const {
        return dOut[row * dOutStride + column] * ((x[row * xStride + column] - centres[row]) * inverses[row]);
    }
};

// The same where groups of width columns share a weight: each group of a row counts as a row of its own.
struct Groups {
    i64 count;  // in a row
    i64 width;

    __device__ __forceinline__ i64 at(i64 part, i64 column, i64 stride) const {
        return part / count * stride + part % count * width + column;
    }
};

struct PlainOfGroups {
    const float* x;
    i64 stride;
    Groups groups;

    __device__ __forceinline__ float at(i64 part, i64 column) const { return x[groups.at(part, column, stride)]; }
};

struct NormOfGroups {
    OfNorm norm;
    Groups groups;

    __device__ __forceinline__ float at(i64 part, i64 column) const {
        float n = (norm.x[groups.at(part, column, norm.xStride)] - norm.centres[part]) * norm.inverses[part];
        return norm.dOut[groups.at(part, column, norm.dOutStride)] * n;
    }
};

// And where each group has its own: columns stay as they are.
struct NormOfColumns {
    OfNorm norm;
    Groups groups;

    __device__ __forceinline__ float at(i64 row, i64 column) const {
        i64 part = row * groups.count + column / groups.width;
        return norm.dOut[row * norm.dOutStride + column]
            * ((norm.x[row * norm.xStride + column] - norm.centres[part]) * norm.inverses[part]);
    }
};

template <class Terms> DEVICE void sum_chunk(Terms terms, i64 rows, i64 columns, float* partial) {
    SHARED(float, sums, SUM_THREADS);
    int lane = threadIdx.x / COLUMNS;
    i64 column = (i64)blockIdx.x * COLUMNS + threadIdx.x % COLUMNS;
    i64 from = (i64)blockIdx.y * CHUNK_ROWS;
    i64 to = least(from + CHUNK_ROWS, rows);
    float sum = 0;
    for (i64 row = from + lane; column < columns && row < to; row += LANES) {
        sum += terms.at(row, column);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = LANES / 2; half > 0; half /= 2) {
        if (lane < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half * COLUMNS];
        }
        __syncthreads();
    }
    if (lane == 0 && column < columns) {
        partial[blockIdx.y * columns + column] = sums[threadIdx.x];
    }
}

// The grid is ceil(columns / 32) x ceil(rows / 256); partial [chunks, columns].
KERNEL(SUM_THREADS) sum_rows(const float* x, i64 stride, i64 rows, i64 columns, float* partial) {
    sum_chunk(Plain{x, stride}, rows, columns, partial);
}

KERNEL(SUM_THREADS) sum_norm_rows(const float* x, i64 xStride, const float* dOut, i64 dOutStride, const float* centres,
                                  const float* inverses, i64 rows, i64 columns, float* partial) {
    sum_chunk(OfNorm{x, xStride, dOut, dOutStride, centres, inverses}, rows, columns, partial);
}

// rows counts the groups of all rows where they share, and columns are a group's; own: rows and columns of the matrix.
KERNEL(SUM_THREADS) sum_group_rows(const float* x, i64 stride, i64 groups, i64 width, i64 rows, i64 columns, float* partial) {
    sum_chunk(PlainOfGroups{x, stride, {groups, width}}, rows, columns, partial);
}

KERNEL(SUM_THREADS) sum_norm_groups(const float* x, i64 xStride, const float* dOut, i64 dOutStride, const float* centres,
                                    const float* inverses, i64 groups, i64 width, int own, i64 rows, i64 columns,
                                    float* partial) {
    OfNorm norm = {x, xStride, dOut, dOutStride, centres, inverses};
    if (own) {
        sum_chunk(NormOfColumns{norm, {groups, width}}, rows, columns, partial);
    } else {
        sum_chunk(NormOfGroups{norm, {groups, width}}, rows, columns, partial);
    }
}

// sums += the chunks' sums
KERNEL(256) add_chunks(const float* partial, i64 chunks, float* sums, i64 columns) {
    i64 column = (i64)blockIdx.x * 256 + threadIdx.x;
    if (column < columns) {
        float sum = partial[column];
        for (i64 chunk = 1; chunk < chunks; chunk++) {
            sum += partial[chunk * columns + column];
        }
        sums[column] += sum;
    }
}
