// Sums and maxima over a block of THREADS threads, by a tree in shared memory: its order does not depend on the wave
// width, so a result has the same bits on every device.
#ifndef OPTGPTQ_REDUCE_H
#define OPTGPTQ_REDUCE_H
#include "portability.h"

#define THREADS 256

struct Sum {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a + b; }
};

// NaN loses.
struct Larger {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a < b ? b : a; }
};

// Every thread gets the result; scratch holds THREADS elements and may be used again at once.
template <class Op, class T, class Scratch> DEVICE T block_reduce(T value, Scratch scratch) {
    int thread = threadIdx.x;
    scratch[thread] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (thread < half) {
            scratch[thread] = Op::of(scratch[thread], scratch[thread + half]);
        }
        __syncthreads();
    }
    T result = scratch[0];
    __syncthreads();
    return result;
}

#endif
