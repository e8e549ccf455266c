// The integer grids of Grid.java, in the same operations: one rounding each, no fusing, so that codes are the same bits on
// every device.
#ifndef OPTGPTQ_GRID_H
#define OPTGPTQ_GRID_H
#include "elements.h"

// -zero .. maxCode - zero in steps of the scale; NaN is 0. The same as rounding first, as the bounds are whole.
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

#endif
