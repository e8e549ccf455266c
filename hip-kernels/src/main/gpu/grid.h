// The integer grids of Grid.java, in the same operations: one rounding each, no fusing, so that codes are the same bits on
// every device.
#ifndef OPTGPTQ_GRID_H
#define OPTGPTQ_GRID_H
#include "elements.h"

// -zero .. maxCode - zero in steps of the scale; NaN becomes 0. The same as rounding first, since the bounds are integers.
DEVICE float steps(float weight, float scale, int zero, int maxCode) {
    float steps = quotient(weight, scale);
    float low = (float)-zero;
    float high = (float)(maxCode - zero);
    steps = steps < low ? low : steps > high ? high : steps;
    return steps != steps ? 0.0f : rintf(steps);
}

DEVICE int code_of(float weight, float scale, int zero, int maxCode) {
    return (int)steps(weight, scale, zero, maxCode) + zero;
}

DEVICE float value_of(int code, float scale, int zero) { return mul(scale, (float)(code - zero)); }

// As Java's Math.min and max: NaN stays.
DEVICE float smaller(float a, float b) { return a != a || a < b ? a : b; }
DEVICE float larger(float a, float b) { return a != a || a > b ? a : b; }

// Grid.java: the range of a group, and its scale and zero point; scales clamped to what their type holds.
struct Fit {
    int maxCode;
    int bits;
    int symmetric;
    int scaleType;
    int positive;

    // Weights have one sign, and codes reach 2^(bits-1) steps down.
    __device__ __forceinline__ bool one_sided(float low, float high) const { return symmetric && (low == 0 || high == 0); }

    __device__ __forceinline__ float scale(float low, float high) const {
        if (!one_sided(low, high)) {
            return held(quotient(sub(high, low), (float)maxCode));
        }
        int down = 1 << (bits - 1);
        if (high == 0) {
            return held(quotient(-low, (float)down));
        }
        return positive ? held(quotient(high, (float)(down - 1))) : -held(quotient(high, (float)down));
    }

    __device__ __forceinline__ float held(float exact) const {
        if (scaleType == F16) {
            return clamp(exact, __uint_as_float(0x33800000u), 65504.0f);  // 2^-24 up
        }
        if (scaleType == BF16) {
            return clamp(exact, __uint_as_float(0x00010000u), __uint_as_float(0x7f7f0000u));
        }
        return clamp(exact, __uint_as_float(1u), __uint_as_float(0x7f7fffffu));
    }

    // low = min(0, min w) and high = max(0, max w) become the range that is covered.
    __device__ __forceinline__ void range(float& low, float& high) const {
        if (low == 0 && high == 0) {
            low = -1;
            high = 1;
        } else if (symmetric && !one_sided(low, high)) {
            high = larger(-low, high);
            low = -high;
        }
    }

    __device__ __forceinline__ int zero(float low, float scale) const {
        if (symmetric) {
            return 1 << (bits - 1);
        }
        float zero = clamp(rintf(quotient(-low, scale)), 0.0f, (float)maxCode);
        return zero != zero ? 0 : (int)zero;
    }

    static __device__ __forceinline__ float clamp(float value, float low, float high) {
        return value < low ? low : value > high ? high : value;
    }
};

// Grid.stored: as the format stores it.
DEVICE float stored_scale(float scale, int scaleType) {
    return scaleType == F16 ? from_f16(to_f16(scale)) : scaleType == BF16 ? from_bf16(to_bf16(scale)) : scale;
}

#endif
