// QuantOps.groupSums and refitScales: scales refitted to codes. A thread has an output, whose sums it takes in the order of the
// reference; neighbouring threads have neighbouring outputs, in every matrix here.
#include "grid.h"

#define RIDGE 9.5367431640625e-07f  // QuantOps.RIDGE, 2^-20

// sums[g] = sum over group g of (code - zero) value: codes U8 and values F32 [inputs, outputs], zeros I32 and sums F32 [G,
// outputs].
KERNEL(256) group_sums(int groupSize, const u8* codes, i64 codesStride, const int* zeros, i64 zerosStride,
                       const float* values, i64 valuesStride, i64 inputs, float* sums, i64 sumsStride, i64 outputs) {
    FOR_CHUNK(g, o, outputs) {
        i64 end = least((g + 1) * groupSize, inputs);
        int zero = zeros[g * zerosStride + o];
        float sum = 0;
        for (i64 i = g * groupSize; i < end; i++) {
            sum = add(sum, mul((float)(codes[i * codesStride + o] - zero), values[i * valuesStride + o]));
        }
        sums[g * sumsStride + o] = sum;
    }
}

// normal F32 [groups * groups, outputs], element (j, k) in row k * groups + j, overwritten where j <= k; slope [groups, outputs], overwritten: in the end it
// holds the fitted scales; scales [groups, outputs].
KERNEL(64) refit_scales(int scaleType, int positive, float* normal, i64 normalStride, float* slope, i64 slopeStride,
                        float* scales, i64 scalesStride, int groups, i64 outputs) {
    i64 o = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= outputs) {
        return;
    }
    float* n = normal + o;
    float* r = slope + o;
    float* s = scales + o;
    i64 column = groups * normalStride;
    for (int j = 0; j < groups; j++) {
        float* diagonal = n + j * (column + normalStride);
        *diagonal = fmaf(RIDGE, *diagonal, *diagonal);
    }
    for (int j = 0; j < groups; j++) {
        const float* row = n + j * normalStride;
        float pivot = row[j * column];
        if (!(pivot > 0)) {
            continue;
        }
        for (int i = j + 1; i < groups; i++) {
            float factor = -quotient(row[i * column], pivot);
            float* other = n + i * normalStride;
            for (int k = i; k < groups; k++) {
                other[k * column] = fmaf(factor, row[k * column], other[k * column]);
            }
            r[i * slopeStride] = fmaf(factor, r[j * slopeStride], r[i * slopeStride]);
        }
    }
    float left = 0;
    float gained = 0;
    for (int j = groups - 1; j >= 0; j--) {
        const float* row = n + j * normalStride;
        float pivot = row[j * column];
        float scale = s[j * scalesStride];
        float fitted = scale;
        if (pivot > 0) {
            float mine = r[j * slopeStride];
            float c = mine;
            for (int k = j + 1; k < groups; k++) {
                c = fmaf(row[k * column], sub(r[k * slopeStride], s[k * scalesStride]), c);
            }
            c = quotient(-c, pivot);
            float stored = stored_scale(add(scale, c), scaleType);
            fitted = stored - stored == 0 && (positive ? stored > 0 : stored != 0) ? stored : scale;  // Grid.isScale
            float rest = sub(sub(fitted, scale), c);
            left = fmaf(pivot, mul(rest, rest), left);
            gained = add(gained, quotient(mul(mine, mine), pivot));
        }
        r[j * slopeStride] = fitted;
    }
    if (left < gained) {
        for (int j = 0; j < groups; j++) {
            s[j * scalesStride] = r[j * slopeStride];
        }
    }
}
