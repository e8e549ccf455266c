// DeltaOps: the gated delta rule (Yang, Kautz and Hatamizadeh, arXiv 2412.06464), token by token, with its gradient. A block takes 32
// columns of the state of one value head of one sequence, which are independent except in the gradients of queries and keys; 8
// threads share a column, each with every eighth key in registers. No sum depends on the width of a wave.
#include "elements.h"
#include "reduce.h"

#define COLUMNS 32
#define PARTS 8

struct Delta {
    int length;
    int keyHeads;
    int valueHeads;
    int keyDim;
    int valueDim;
    float scale;
};

// The sum over the 8 threads of a column, for each of them.
DEVICE float column_sum(float value) {
    int part = threadIdx.x % PARTS;
    for (int other = PARTS / 2; other > 0; other /= 2) {
        value += shuffle(value, part ^ other, PARTS);
    }
    return value;
}

// The work of a block; rows are those of its sequence.
struct Column {
    int head;
    int keyHead;
    int column;   // of the value head
    bool inside;  // of its columns
    i64 sequence;

    static __device__ __forceinline__ Column of(const Delta& shape) {
        int column = blockIdx.x * COLUMNS + threadIdx.x / PARTS;
        int head = blockIdx.y;
        return Column{head, head / (shape.valueHeads / shape.keyHeads), column, column < shape.valueDim,
                      (i64)blockIdx.z * shape.length};
    }
};

struct Inputs {
    const float* q;
    i64 qStride;
    const float* k;
    i64 kStride;
    const float* v;
    i64 vStride;
    const float* decay;
    i64 decayStride;
    const float* beta;
    i64 betaStride;
    Delta shape;

    // A token's query, scaled, and key, to shared memory; zeros beyond the head. The caller synchronizes before and after.
    template <int KEYS, class Keys> __device__ __forceinline__ void load(const Column& at, int t, Keys query, Keys key) const {
        for (int d = threadIdx.x; d < KEYS; d += THREADS) {
            bool real = d < shape.keyDim;
            i64 column = (i64)at.keyHead * shape.keyDim + d;
            query[d] = real ? shape.scale * q[(at.sequence + t) * qStride + column] : 0.0f;
            key[d] = real ? k[(at.sequence + t) * kStride + column] : 0.0f;
        }
    }

    __device__ __forceinline__ float value(const Column& at, int t) const {
        return at.inside ? v[(at.sequence + t) * vStride + (i64)at.head * shape.valueDim + at.column] : 0.0f;
    }

    __device__ __forceinline__ float kept(const Column& at, int t) const {
        return expf(decay[(at.sequence + t) * decayStride + at.head]);
    }

    __device__ __forceinline__ float rate(const Column& at, int t) const {
        return beta[(at.sequence + t) * betaStride + at.head];
    }
};

// S = a S + k u^T with u = rate (v - (a S)^T k): a step of one column.
template <int OWN, class Keys>
DEVICE void step(float (&state)[OWN], Keys key, float kept, float rate, float value) {
    int part = threadIdx.x % PARTS;
    float dot = 0;
    #pragma unroll
    for (int i = 0; i < OWN; i++) {
        state[i] *= kept;
        dot = fmaf(state[i], key[i * PARTS + part], dot);
    }
    float u = rate * (value - column_sum(dot));
    #pragma unroll
    for (int i = 0; i < OWN; i++) {
        state[i] = fmaf(key[i * PARTS + part], u, state[i]);
    }
}

template <int KEYS> DEVICE void forward(Inputs in, float* out, i64 outStride) {
    SHARED(float, query, KEYS);
    SHARED(float, key, KEYS);
    constexpr int OWN = KEYS / PARTS;
    Column at = Column::of(in.shape);
    int part = threadIdx.x % PARTS;
    float state[OWN];
    #pragma unroll
    for (int i = 0; i < OWN; i++) {
        state[i] = 0;
    }
    for (int t = 0; t < in.shape.length; t++) {
        in.load<KEYS>(at, t, query, key);
        __syncthreads();
        step(state, key, in.kept(at, t), in.rate(at, t), in.value(at, t));
        float sum = 0;
        #pragma unroll
        for (int i = 0; i < OWN; i++) {
            sum = fmaf(state[i], query[i * PARTS + part], sum);
        }
        sum = column_sum(sum);
        if (part == 0 && at.inside) {
            out[(at.sequence + t) * outStride + (i64)at.head * in.shape.valueDim + at.column] = sum;
        }
        __syncthreads();
    }
}

// Gradients that all columns share, separately for each block: [blocks of a head][rows, value heads * keyDim] and
// [blocks of a head][rows, value heads].
struct Parts {
    float* dq;
    float* dk;
    float* dDecay;
    float* dBeta;
    i64 rows;
};

// target[key] = the sum over the block's columns of each thread's values of its keys, times factor.
template <int KEYS, int OWN, class Scratch>
DEVICE void sum_columns(const float (&values)[OWN], Scratch scratch, int keyDim, float factor, float* target) {
    int column = threadIdx.x / PARTS;
    int part = threadIdx.x % PARTS;
    #pragma unroll
    for (int i = 0; i < OWN; i++) {
        scratch[column * KEYS + i * PARTS + part] = values[i];
    }
    __syncthreads();
    for (int d = threadIdx.x; d < keyDim; d += THREADS) {
        float sum = 0;
        for (int c = 0; c < COLUMNS; c++) {
            sum += scratch[c * KEYS + d];
        }
        target[d] = factor * sum;
    }
    __syncthreads();
}

// The same for one number per thread.
template <class Scratch> DEVICE void sum_threads(float value, Scratch scratch, float* target) {
    float sum = block_reduce<Sum>(value, scratch);
    if (threadIdx.x == 0) {
        *target = sum;
    }
}

// States before tokens 0, chunk, 2 chunk, .. and, of one chunk at a time, before each of its tokens: all that the backward pass
// needs beside the inputs. states holds for each block [ceil(length / chunk) + chunk][OWN][THREADS].
template <int KEYS>
DEVICE void backward(Inputs in, const float* dOut, i64 dOutStride, float* dv, i64 dvStride, Parts parts, float* states,
                     int chunk) {
    SHARED(float, query, KEYS);
    SHARED(float, key, KEYS);
    SHARED(float, columns, COLUMNS * KEYS);
    SHARED(float, scratch, THREADS);
    constexpr int OWN = KEYS / PARTS;
    const Delta& shape = in.shape;
    Column at = Column::of(shape);
    at.head = per_thread(at.head);
    int part = threadIdx.x % PARTS;
    int chunks = (shape.length + chunk - 1) / chunk;
    i64 block = ((i64)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    float* saved = states + block * (chunks + chunk) * (OWN * THREADS) + threadIdx.x;
    float* steps = saved + (i64)chunks * (OWN * THREADS);
    float state[OWN], gradient[OWN];
    #pragma unroll
    for (int i = 0; i < OWN; i++) {
        state[i] = 0;
        gradient[i] = 0;
    }
    for (int t = 0; t < shape.length; t++) {
        int own = per_thread(t);
        if (t % chunk == 0) {
            #pragma unroll
            for (int i = 0; i < OWN; i++) {
                saved[(i64)(t / chunk) * (OWN * THREADS) + i * THREADS] = state[i];
            }
        }
        in.load<KEYS>(at, own, query, key);
        __syncthreads();
        step(state, key, in.kept(at, own), in.rate(at, own), in.value(at, own));
        __syncthreads();
    }
    for (int c = chunks - 1; c >= 0; c--) {
        int first = c * chunk;
        int end = first + chunk < shape.length ? first + chunk : shape.length;
        #pragma unroll
        for (int i = 0; i < OWN; i++) {
            state[i] = saved[(i64)c * (OWN * THREADS) + i * THREADS];
        }
        for (int t = first; t < end; t++) {
            int own = per_thread(t);
            #pragma unroll
            for (int i = 0; i < OWN; i++) {
                steps[(i64)(own - first) * (OWN * THREADS) + i * THREADS] = state[i];
            }
            in.load<KEYS>(at, own, query, key);
            __syncthreads();
            step(state, key, in.kept(at, own), in.rate(at, own), in.value(at, own));
            __syncthreads();
        }
        for (int t = end - 1; t >= first; t--) {
            int own = per_thread(t);
            in.load<KEYS>(at, own, query, key);
            __syncthreads();
            i64 row = at.sequence + own;
            i64 shared = blockIdx.x * parts.rows + row;
            float kept = in.kept(at, own);
            float rate = in.rate(at, own);
            float d = at.inside ? dOut[row * dOutStride + (i64)at.head * shape.valueDim + at.column] : 0.0f;
            float dot = 0;
            #pragma unroll
            for (int i = 0; i < OWN; i++) {
                state[i] = kept * steps[(i64)(own - first) * (OWN * THREADS) + i * THREADS];
                dot = fmaf(state[i], key[i * PARTS + part], dot);
            }
            float error = in.value(at, own) - column_sum(dot);
            float u = rate * error;
            float du = 0;
            float values[OWN];
            #pragma unroll
            for (int i = 0; i < OWN; i++) {
                gradient[i] = fmaf(query[i * PARTS + part], d, gradient[i]);
                du = fmaf(gradient[i], key[i * PARTS + part], du);
                values[i] = fmaf(key[i * PARTS + part], u, state[i]) * d;
            }
            du = column_sum(du);
            sum_columns<KEYS>(values, columns, shape.keyDim, shape.scale,
                              parts.dq + (shared * shape.valueHeads + at.head) * shape.keyDim);
            float dError = rate * du;
            float dDecay = 0;
            #pragma unroll
            for (int i = 0; i < OWN; i++) {
                values[i] = fmaf(gradient[i], u, -(state[i] * dError));
                gradient[i] = fmaf(-key[i * PARTS + part], dError, gradient[i]);
                dDecay = fmaf(gradient[i], state[i], dDecay);
                gradient[i] *= kept;
            }
            sum_columns<KEYS>(values, columns, shape.keyDim, 1,
                              parts.dk + (shared * shape.valueHeads + at.head) * shape.keyDim);
            if (part == 0 && at.inside) {
                dv[row * dvStride + (i64)at.head * shape.valueDim + at.column] = dError;
            }
            sum_threads(dDecay, scratch, parts.dDecay + shared * shape.valueHeads + at.head);
            sum_threads(part == 0 ? du * error : 0.0f, scratch, parts.dBeta + shared * shape.valueHeads + at.head);
        }
    }
}

#define INPUTS const float *q, i64 qStride, const float *k, i64 kStride, const float *v, i64 vStride, const float *decay, \
               i64 decayStride, const float *beta, i64 betaStride, int length, int keyHeads, int valueHeads, int keyDim,  \
               int valueDim, float scale
#define INPUTS_OF {q, qStride, k, kStride, v, vStride, decay, decayStride, beta, betaStride, \
                   {length, keyHeads, valueHeads, keyDim, valueDim, scale}}

// The grid is ceil(valueDim / 32) x valueHeads x sequences. The number is the largest keyDim.
#define KERNELS(keys)                                                                                              \
    KERNEL(THREADS) gated_delta##keys(INPUTS, float* out, i64 outStride) {                                         \
        forward<keys>(INPUTS_OF, out, outStride);                                                                  \
    }                                                                                                              \
    KERNEL(THREADS) gated_delta_gradient##keys(INPUTS, const float* dOut, i64 dOutStride, float* dv, i64 dvStride, \
                                               float* dq, float* dk, float* dDecay, float* dBeta, i64 rows,        \
                                               float* states, int chunk) {                                         \
        backward<keys>(INPUTS_OF, dOut, dOutStride, dv, dvStride, {dq, dk, dDecay, dBeta, rows}, states, chunk);   \
    }

KERNELS(64)
KERNELS(128)
KERNELS(256)

// target [rows, heads * width] = the sum over a head's blocks, and over the members that share it, in order: parts [blocks][rows,
// heads * members * width].
KERNEL(256) sum_parts(const float* parts, i64 blocks, i64 rows, i64 members, i64 width, float* target, i64 targetStride,
                      i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 head = column / width;
        float sum = 0;
        for (i64 member = 0; member < members; member++) {
            for (i64 block = 0; block < blocks; block++) {
                i64 at = (head * members + member) * width + column % width;
                sum += parts[(block * rows + row) * columns * members + at];
            }
        }
        target[row * targetStride + column] = sum;
    }
}
