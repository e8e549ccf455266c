// QuantOps.refitScales: the best scale of one group per output for its codes. A thread has an output, whose inputs it goes
// through in order: the sums have the bits of the reference.
#include "grid.h"

// codes U8, gradient, curvature and errors F32 [inputs, outputs]; zeros I32 and scales F32 [outputs].
KERNEL(64) refit_scales(int scaleType, const u8* codes, i64 codesStride, const int* zeros, const float* gradient,
                        i64 gradientStride, const float* curvature, i64 curvatureStride, int inputs, float* scales,
                        float* errors, i64 errorsStride, i64 outputs) {
    i64 o = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= outputs) {
        return;
    }
    int zero = zeros[o];
    float slope = 0;
    float bend = 0;
    for (int i = 0; i < inputs; i++) {
        float steps = (float)(codes[i * codesStride + o] - zero);
        slope = add(slope, mul(steps, gradient[i * gradientStride + o]));
        bend = add(bend, mul(steps, curvature[i * curvatureStride + o]));
    }
    float scale = scales[o];
    float fitted = stored_scale(sub(scale, quotient(slope, bend)), scaleType);
    float move = sub(fitted, scale);
    bool lowers = mul(move, add(add(slope, slope), mul(bend, move))) < 0;
    if (lowers && fitted != 0 && fitted - fitted == 0) {  // finite
        scales[o] = fitted;
        for (int i = 0; i < inputs; i++) {
            float steps = (float)(codes[i * codesStride + o] - zero);
            errors[i * errorsStride + o] = fmaf(move, steps, errors[i * errorsStride + o]);
        }
    }
}
