// Sums and maxima over a block of THREADS threads, by a tree in shared memory whose order does not depend on the wave width, so a
// result has the same bits on every device.
#ifndef OPTGPTQ_REDUCE_H
#define OPTGPTQ_REDUCE_H
#include "portability.h"

#define THREADS 256

struct Sum {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a + b; }
};

// NaN is ignored.
struct Larger {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a < b ? b : a; }
};

// Over each LANES neighbouring threads of the block by themselves, LANES a power of two: each gets its group's result. scratch
// holds THREADS elements and may be used again at once; the whole block takes part.
template <int LANES, class Op, class T, class Scratch> DEVICE T lanes_reduce(T value, Scratch scratch) {
    int thread = threadIdx.x;
    int lane = LANES == THREADS ? thread : thread % LANES;
    scratch[thread] = value;
    __syncthreads();
    for (int half = LANES / 2; half > 0; half /= 2) {
        if (lane < half) {
            scratch[thread] = Op::of(scratch[thread], scratch[thread + half]);
        }
        __syncthreads();
    }
    T result = scratch[thread - lane];
    __syncthreads();
    return result;
}

// Every thread gets the block's result.
template <class Op, class T, class Scratch> DEVICE T block_reduce(T value, Scratch scratch) {
    return lanes_reduce<THREADS, Op>(value, scratch);
}

#endif
