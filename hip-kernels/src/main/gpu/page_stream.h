// How the waves of a block get the pages of a sequence, one after the other, for paged_attention_few.hip.
#ifndef OPTGPTQ_PAGE_STREAM_H
#define OPTGPTQ_PAGE_STREAM_H
#include "page_shares.h"

#if MATRIX_UNITS && ROWS_LAYOUT

// Waves of a block, which take pages in turn.
#define WAVES 4

// A lane's share of a page, and the scales and minima of the tokens whose scores it has.
template <int TYPE, int WIDTH> struct Page {
    typedef KeyShare<TYPE, WIDTH> Keys;
    typedef ValueShare<TYPE, WIDTH> Values;
    static constexpr int TOKEN_WORDS = WIDTH * Stored<TYPE>::BITS / 32;

    u32 key[KEY_TILES][Keys::WORDS];
    u32 value[4][Values::WORDS];
    u32 keyGrid[KEY_TILES];
    u32 valueGrid[KEY_TILES];

    // No read depends on a condition, since branches would keep reads from being on the way together.
    // @param place where a word of the page lies
    template <class Place> __device__ __forceinline__ void load_keys(const u32* from, Place place) {
        #pragma unroll
        for (int t = 0; t < KEY_TILES; t++) {
            #pragma unroll
            for (int r = 0; r < Keys::WORDS / Keys::RUN; r++) {
                int word = key_token(t) * TOKEN_WORDS + (quarter() + r * QUARTERS) * Keys::RUN;
                take<Keys::RUN>(from + place(word), key[t] + r * Keys::RUN);
            }
        }
    }

    template <class Place> __device__ __forceinline__ void load_values(const u32* from, Place place) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            #pragma unroll
            for (int r = 0; r < Values::WORDS / Values::RUN; r++) {
                int word = (4 * quarter() + i) * TOKEN_WORDS + (across_lane() + r * ACROSS) * Values::RUN;
                take<Values::RUN>(from + place(word), value[i] + r * Values::RUN);
            }
        }
    }

    __device__ __forceinline__ void load_grids(const u32* keys, const u32* values) {
        #pragma unroll
        for (int t = 0; t < KEY_TILES; t++) {
            keyGrid[t] = keys[key_token(t)];
            valueGrid[t] = values[key_token(t)];
        }
    }

    // Values from token end on become 0. Codes are numbers whatever they are, but their scales and minima may not be.
    __device__ __forceinline__ void cut(int end) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            #pragma unroll
            for (int w = 0; w < Values::WORDS; w++) {
                value[i][w] &= Stored<TYPE>::CODES || 4 * quarter() + i < end ? 0xffffffffu : 0;
            }
        }
        #pragma unroll
        for (int t = 0; t < KEY_TILES; t++) {
            valueGrid[t] &= Stored<TYPE>::CODES && key_token(t) < end ? 0xffffffffu : 0;
        }
    }

    template <int RUN> static __device__ __forceinline__ void take(const u32* from, u32* to) {
        Run<RUN> run = *(const Run<RUN>*)from;
        #pragma unroll
        for (int w = 0; w < RUN; w++) {
            to[w] = run.word[w];
        }
    }
};

// The pages of a wave, one after the other, those of 16 bits straight from memory. Numbers of pages are read a step before they are
// used, so that nothing waits for them.
template <int TYPE, int WIDTH, bool CODES> struct Stream {
    static constexpr int TOGETHER = 1;
    static constexpr int SHARED_WORDS = 4;
    Pages keys;
    Pages values;
    const int* table;
    int kvHeads;
    int kvHead;
    int last;
    int next;

    __device__ __forceinline__ int number(int index) const { return table[index < last ? index : last]; }

    __device__ __forceinline__ void plan(int first) { next = number(first); }
    __device__ __forceinline__ void start(u32*, int) {}

    __device__ __forceinline__ void load(int index, Page<TYPE, WIDTH> (&page)[TOGETHER]) {
        i64 row = (i64)next * kvHeads + kvHead;
        auto place = [](int word) { return word; };
        page[0].load_keys((const u32*)((const u16*)keys.elements + row * keys.stride), place);
        page[0].load_values((const u32*)((const u16*)values.elements + row * values.stride), place);
        next = number(index + WAVES);
    }

    __device__ __forceinline__ void load_values(Page<TYPE, WIDTH> (&)[TOGETHER]) const {}
    __device__ __forceinline__ void done(int) {}
};

// Codes pass through shared memory, where two stages are on the way: one is read while the other is filled. A stage is a page, of 4
// bits two, so that a wave has two independent chains of matmuls.
template <int TYPE, int WIDTH> struct Stream<TYPE, WIDTH, true> {
    static constexpr int TOGETHER = TYPE == INT4 ? 2 : 1;
    static constexpr int PAGE_WORDS = TOKENS * WIDTH * Stored<TYPE>::BITS / 32;
    static constexpr int TOKEN_PIECES = WIDTH * Stored<TYPE>::BITS / 128;
    static constexpr int PIECES = PAGE_WORDS / 4;
    static constexpr int OWN_WORDS = 2 * PAGE_WORDS + 2 * TOKENS;
    static constexpr int STAGE_WORDS = TOGETHER * OWN_WORDS;
    static constexpr int SHARED_WORDS = WAVES * 2 * STAGE_WORDS;
    Pages keys;
    Pages values;
    const int* table;
    int kvHeads;
    int kvHead;
    int last;
    int next[TOGETHER];
    int after[2][TOGETHER];
    u32* stage;  // the one that is read
    int other;   // where the other one is from there

    // Where 16 bytes of a page lie in shared memory, so that lanes that read together do not meet in a bank.
    static __device__ __forceinline__ int key_piece(int piece) {
        return TOKEN_PIECES == 8 ? piece ^ 4 * (piece / TOKEN_PIECES % 2) : piece;
    }
    static __device__ __forceinline__ int value_piece(int piece) { return piece ^ 2 * (piece / TOKEN_PIECES / 4); }

    __device__ __forceinline__ void number(int index, int (&numbers)[TOGETHER]) const {
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            int at = index + p * WAVES;
            numbers[p] = table[at < last ? at : last];
        }
    }

    // Starts copies of the pages whose numbers are known.
    __device__ __forceinline__ void send(int index) const {
        int lane = lane_of_wave();
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            if (index + p * WAVES > last) {
                continue;
            }
            u32* target = stage + p * OWN_WORDS;
            i64 row = (i64)next[p] * kvHeads + kvHead;
            const u8* key = (const u8*)keys.elements + row * keys.stride;
            const u8* value = (const u8*)values.elements + row * values.stride;
            #pragma unroll
            for (int piece = lane; piece < PIECES; piece += GPU_WAVE) {
                copy_16(target + 4 * key_piece(piece), key + 16 * piece, true);
                copy_16(target + PAGE_WORDS + 4 * value_piece(piece), value + 16 * piece, true);
            }
            if (lane < TOKENS / 2) {
                const u16* grids = lane < TOKENS / 4 ? keys.grids + row * keys.gridStride : values.grids + row * values.gridStride;
                copy_16(target + 2 * PAGE_WORDS + 4 * lane, grids + 8 * (lane % (TOKENS / 4)), true);
            }
        }
        group_copies();
    }

    // Reads the first numbers of pages.
    __device__ __forceinline__ void plan(int first) {
        number(first, next);
        number(first + TOGETHER * WAVES, after[0]);
        number(first + 2 * TOGETHER * WAVES, after[1]);
    }

    __device__ __forceinline__ void start(u32* stages, int first) {
        stage = stages;
        other = STAGE_WORDS;
        #pragma unroll
        for (int s = 0; s < 2; s++) {
            send(first + s * TOGETHER * WAVES);
            #pragma unroll
            for (int p = 0; p < TOGETHER; p++) {
                next[p] = after[s][p];
            }
            stage += other;
            other = -other;
        }
    }

    __device__ __forceinline__ void load(int, Page<TYPE, WIDTH> (&page)[TOGETHER]) const {
        await_group<1>();
        wave_barrier();
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            const u32* own = stage + p * OWN_WORDS;
            page[p].load_keys(own, [](int word) { return 4 * key_piece(word / 4) + word % 4; });
            page[p].load_grids(own + 2 * PAGE_WORDS, own + 2 * PAGE_WORDS + TOKENS);
        }
    }

    __device__ __forceinline__ void load_values(Page<TYPE, WIDTH> (&page)[TOGETHER]) const {
        #pragma unroll
        for (int p = 0; p < TOGETHER; p++) {
            page[p].load_values(stage + p * OWN_WORDS + PAGE_WORDS, [](int word) { return 4 * value_piece(word / 4) + word % 4; });
        }
    }

    // After the last read of a stage.
    __device__ __forceinline__ void done(int index) {
        wave_barrier();
        send(index + 2 * TOGETHER * WAVES);
        number(index + 3 * TOGETHER * WAVES, next);
        stage += other;
        other = -other;
    }
};

#endif

#endif
