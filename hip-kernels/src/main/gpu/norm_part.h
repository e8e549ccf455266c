// The groups of neighbouring columns that norms and their gradients work on, each normalised by itself.
#ifndef OPTGPTQ_NORM_PART_H
#define OPTGPTQ_NORM_PART_H
#include "reduce.h"

// Threads to a group of columns.
#define GROUP_THREADS 32

// The columns of one row that LANES threads normalise.
struct Part {
    i64 row;
    i64 column;
    i64 columns;  // 0 beyond the last part, whose threads still reach the barriers

    // @param groups of width columns, in each of the rows
    template <int LANES> static __device__ __forceinline__ Part of(i64 rows, i64 groups, i64 width) {
        i64 part = (i64)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
        bool inside = part < rows * groups;
        return Part{part / groups, part % groups * width, inside ? width : 0};
    }
};

#endif
