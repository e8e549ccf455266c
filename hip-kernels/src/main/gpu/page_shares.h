// What a lane holds of a page for the matrix units: its share of keys and of values, read straight into registers, as pairs of fp16
// or bf16. A sum over a head's elements, or over a page's tokens, does not depend on the order in which they are multiplied, so
// neighbours in memory are a factor as they lie.
#ifndef OPTGPTQ_PAGE_SHARES_H
#define OPTGPTQ_PAGE_SHARES_H
#include "cache_pages.h"
#include "code_pairs.h"

#if MATRIX_UNITS

// Lanes that hold one key's elements, or other tokens of the values; and those across.
#define QUARTERS 4
#define ACROSS (GPU_WAVE / QUARTERS)

template <int TYPE> struct Stored {
    static constexpr int BITS = TYPE == INT8 ? 8 : TYPE == INT4 ? 4 : 16;
    static constexpr bool CODES = TYPE == INT8 || TYPE == INT4;
    // The matmul dtype: codes are exact in F16.
    static constexpr int FACTOR = TYPE == BF16 ? BF16 : F16;
};

template <int A, int B> struct Least {
    static constexpr int VALUE = A < B ? A : B;
};

// 2 to 16 bytes per read, aligned to their size.
template <int WORDS> struct alignas(WORDS * 4) Run {
    u32 word[WORDS];
};

// words from memory, RUN at a time, runs apart by step words; zeros where they are not there.
template <int WORDS, int RUN> DEVICE void read(const u32* from, int step, bool real, u32 (&words)[WORDS]) {
    #pragma unroll
    for (int r = 0; r < WORDS / RUN; r++) {
        Run<RUN> run = {};
        if (real) {
            run = *(const Run<RUN>*)(from + r * step);
        }
        #pragma unroll
        for (int w = 0; w < RUN; w++) {
            words[r * RUN + w] = run.word[w];
        }
    }
}

// Codes as F16. NVIDIA's matrix units take subnormal numbers as they are, so that the bits of a code are code / CODE_UNIT; AMD's take
// them for 0, and get a code's value. Nibbles that lie 4 bits higher may stay there, as 16 times as much, where UNMOVED is 16.
#if ROWS_LAYOUT
#define CODE_UNIT 0x1p24f
#define UNMOVED 16
#else
#define CODE_UNIT 1.0f
#define UNMOVED 1
#endif

// Two codes, in the lower and the upper half of a word.
DEVICE u32 code_halves(u32 codes) { return ROWS_LAYOUT ? codes : code_steps(codes, 0x64006400u); }

// Two nibbles from bit 4 on of both halves, UNMOVED times.
DEVICE u32 upper_nibbles(u32 word) {
    return ROWS_LAYOUT ? word & 0x00f000f0u : code_halves(word >> 4 & 0x000f000fu);
}

// The token of a page whose key this lane loads for tile t of 8, or 16, tokens.
DEVICE int key_token(int t) {
    int lane = across_lane();
    return ROWS_LAYOUT ? 4 * (lane / 2) + 2 * t + lane % 2 : lane;
}
#define KEY_TILES (ROWS_LAYOUT ? 2 : 1)

// Scores are in powers of 2.
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

// How a lane holds keys: its quarter of a key in runs of SPAN elements, WIDTH / 16 steps of 4 elements.
template <int TYPE, int WIDTH> struct KeyShare {
    static constexpr int BITS = Stored<TYPE>::BITS;
    static constexpr int SPAN = Least<128 / BITS, WIDTH / QUARTERS>::VALUE;
    static constexpr int WORDS = WIDTH / QUARTERS * BITS / 32;
    static constexpr int RUN = SPAN * BITS / 32;

    // The element of a head that is the i-th of a step, of 4.
    static __device__ __forceinline__ int element(int step, int i) {
        return step * 4 / SPAN * QUARTERS * SPAN + quarter() * SPAN + own_element(step * 4 % SPAN, i);
    }

    // Nibbles are taken out four apart.
    static __device__ __forceinline__ int own_element(int within, int i) {
        return TYPE == INT4 ? within / 8 * 8 + within / 4 % 2 * 2 + i / 2 + i % 2 * 4 : within + i;
    }

    // Where the lane's elements begin of which four are read at once, and the i-th of a step among all that were read.
    static __device__ __forceinline__ int run(int step) {
        return step * 4 / SPAN * QUARTERS * SPAN + quarter() * SPAN + step * 4 % SPAN;
    }
    template <int STEPS> static __device__ __forceinline__ float of(const Four (&runs)[STEPS], int step, int i) {
        int own = step * 4 / SPAN * SPAN + own_element(step * 4 % SPAN, i);
        return runs[own / 4].at[own % 4];
    }

    // What the i-th of a step is multiplied by to make up for its pair.
    static __device__ __forceinline__ float factor(int i) { return TYPE == INT4 && i >= 2 ? 1.0f / UNMOVED : 1.0f; }

    // The two pairs of a step.
    static __device__ __forceinline__ void pairs(const u32 (&words)[WORDS], int step, u32 (&pair)[2]) {
        if (TYPE == INT8) {
            u32 word = words[step % WORDS];
            pair[0] = code_halves((word & 0xffu) | (word & 0xff00u) << 8);
            pair[1] = code_halves((word >> 16 & 0xffu) | (word >> 8 & 0xff0000u));
        } else if (TYPE == INT4) {
            u32 word = words[step / 2 % WORDS] >> (step % 2 * 8);
            pair[0] = code_halves(word & 0x000f000fu);
            pair[1] = upper_nibbles(word);
        } else {
            pair[0] = words[step * 2 % WORDS];
            pair[1] = words[(step * 2 + 1) % WORDS];
        }
    }
};

// How a lane holds values: COUNT elements of each of its quarter's 4 tokens, in runs of SPAN.
template <int TYPE, int WIDTH> struct ValueShare {
    static constexpr int BITS = Stored<TYPE>::BITS;
    static constexpr int COUNT = WIDTH / ACROSS;
    static constexpr int SPAN = Least<128 / BITS, COUNT>::VALUE;
    static constexpr int WORDS = COUNT * BITS / 32 > 0 ? COUNT * BITS / 32 : 1;
    static constexpr int RUN = SPAN * BITS / 32 > 0 ? SPAN * BITS / 32 : 1;

    // The element of a head that is the e-th of another lane.
    static __device__ __forceinline__ int element(int e, int lane) { return e / SPAN * SPAN * ACROSS + lane * SPAN + e % SPAN; }

    // What a sum of element e is multiplied by.
    static __device__ __forceinline__ float factor(int e) {
        return TYPE == INT4 && e % 2 == 1 ? CODE_UNIT / UNMOVED : Stored<TYPE>::CODES ? CODE_UNIT : 1.0f;
    }

    // Element e of tokens a and b.
    static __device__ __forceinline__ u32 pair(const u32 (&a)[WORDS], const u32 (&b)[WORDS], int e, int shift) {
        if (TYPE == INT8) {
            int at = e % 4 * 8;
            return code_halves((a[e / 4 % WORDS] >> at & 0xffu) | (b[e / 4 % WORDS] >> at & 0xffu) << 16);
        }
        if (TYPE == INT4) {
            u32 first = a[e / 8 % WORDS] >> shift;
            u32 second = b[e / 8 % WORDS] >> shift;
            u32 both = e / 4 % 2 == 0 ? lower_halves(first, second) : upper_halves(first, second);
            both >>= e / 2 % 2 * 8;
            return e % 2 == 0 ? code_halves(both & 0x000f000fu) : upper_nibbles(both);
        }
        return e % 2 == 0 ? lower_halves(a[e / 2 % WORDS], b[e / 2 % WORDS]) : upper_halves(a[e / 2 % WORDS], b[e / 2 % WORDS]);
    }
};

struct Grid4 {
    float scale[4];
    float minimum[4];
};

// Scales and minima of the quarter's 4 tokens; zeros from token end on.
DEVICE Grid4 read_grid(const u16* grids, int end) {
    Run<4> run = *(const Run<4>*)(grids + 8 * quarter());
    Grid4 grid;
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        bool real = 4 * quarter() + i < end;
        grid.scale[i] = real ? from_f16((u16)run.word[i]) : 0.0f;
        grid.minimum[i] = real ? from_f16((u16)(run.word[i] >> 16)) : 0.0f;
    }
    return grid;
}

#endif

#endif
