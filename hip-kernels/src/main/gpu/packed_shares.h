// How blocks share the inputs of packed linears, for packed_many.hip: which share of which tile a block computes, and the sum of the
// shares by the block that comes last.
#ifndef OPTGPTQ_PACKED_SHARES_H
#define OPTGPTQ_PACKED_SHARES_H
#include "packed_linears.h"

#if MATRIX_UNITS && ROWS_LAYOUT

// Waves of a block, and its outputs.
#define WAVES_ACROSS 4
#define WAVES_ALONG 2
#define WAVES (WAVES_ACROSS * WAVES_ALONG)
#define UNIT_THREADS (WAVES * GPU_WAVE)
#define BLOCK_OUTPUTS (WAVES_ACROSS * OUTPUTS)

// What a block computes: a tile of 128 outputs of a linear, over one of several shares of its inputs.
struct Place {
    int which;
    int outputs;
    int tile;
    int tiles;
    int share;
    int shares;
    int before;  // blocks of the linears before

    // The first of four outputs of a lane, and the one that it reads where that is not there.
    __device__ __forceinline__ int wanted(int waveAcross) const {
        return (tile * WAVES_ACROSS + waveAcross) * OUTPUTS + 4 * across_lane();
    }
    __device__ __forceinline__ int own(int waveAcross) const {
        return wanted(waveAcross) < outputs ? wanted(waveAcross) : outputs - 4;
    }
};

DEVICE int across(i64 outputs) { return ((int)outputs + BLOCK_OUTPUTS - 1) / BLOCK_OUTPUTS; }

DEVICE Place find(int block, i64 outputs0, int shares0, i64 outputs1, int shares1, i64 outputs2, int shares2) {
    int blocks0 = across(outputs0) * shares0;
    int blocks1 = blocks0 + across(outputs1) * shares1;
    Place place = {0, (int)outputs0, 0, 0, 0, shares0, 0};
    if (block >= blocks1) {
        place = {2, (int)outputs2, 0, 0, 0, shares2, blocks1};
    } else if (block >= blocks0) {
        place = {1, (int)outputs1, 0, 0, 0, shares1, blocks0};
    }
    place.tiles = across(place.outputs);
    place.tile = (block - place.before) % place.tiles;
    place.share = (block - place.before) / place.tiles;
    return place;
}

// How many of the blocks that share a tile's inputs have come; 0 between launches, which follow each other on one stream.
#define MOST_BLOCKS 4096
static __device__ int arrived[MOST_BLOCKS];

// Leaves the sum of all shares in own, in their order, whichever block comes last. False for the blocks that came before it.
// @param own COUNT times 4 sums of this thread
// @param parts room for those of all blocks, as threads hold them
// @param flag a word of shared memory
template <int COUNT> DEVICE bool sum_shares(Four (&own)[COUNT], const Place& place, Four* parts, u32* flag) {
    int thread = threadIdx.x;
    i64 tile = (i64)blockIdx.y * gridDim.x + place.before + place.tile;
    i64 apart = (i64)place.tiles * COUNT * UNIT_THREADS;
    Four* all = parts + tile * COUNT * UNIT_THREADS + thread;
    #pragma unroll
    for (int i = 0; i < COUNT; i++) {
        all[place.share * apart + i * UNIT_THREADS] = own[i];
    }
    __syncthreads();
    if (thread == 0) {
        memory_fence();
        bool last = atomicAdd(&arrived[tile], 1) == place.shares - 1;
        if (last) {
            arrived[tile] = 0;
        }
        memory_fence();
        *flag = last ? 1 : 0;
    }
    __syncthreads();
    if (*flag == 0) {
        return false;
    }
    #pragma unroll
    for (int i = 0; i < COUNT; i++) {
        own[i] = Four{};
    }
    #pragma unroll 2
    for (int s = 0; s < place.shares; s++) {
        #pragma unroll
        for (int i = 0; i < COUNT; i++) {
            Four part = read_fresh(all + s * apart + i * UNIT_THREADS);
            #pragma unroll
            for (int c = 0; c < 4; c++) {
                own[i].at[c] += part.at[c];
            }
        }
    }
    return true;
}

#endif

#endif
