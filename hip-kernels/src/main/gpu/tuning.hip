// TuningOps: latent weights, counted in steps of their group's scale, and Adam. latent F32 and codes U8 [in, out]; scales F32
// and zeros I32 [G, out]; groupOf [in].
#include "grid.h"

DEVICE float held(float value, float low, float high) { return value < low ? low : value > high ? high : value; }

// latent = w / scale, clamped to within `inside` of the code
KERNEL(256) latent_of(const float* wt, i64 wtStride, const u8* codes, i64 codesStride, const float* scales,
                      i64 scalesStride, const int* zeros, i64 zerosStride, const int* groupOf, float inside,
                      float* latent, i64 latentStride, i64 outputs) {
    FOR_CHUNK(i, o, outputs) {
        i64 group = groupOf[i];
        float middle = (float)((int)codes[i * codesStride + o] - zeros[group * zerosStride + o]);
        float steps = quotient(wt[i * wtStride + o], scales[group * scalesStride + o]);
        latent[i * latentStride + o] = held(steps, sub(middle, inside), add(middle, inside));
    }
}

// code - zero of a latent
DEVICE float rounded(float latent, int zero, int maxCode) {
    return held(rintf(latent), (float)-zero, (float)(maxCode - zero));
}

KERNEL(256) round_latent(const float* latent, i64 latentStride, const float* scales, i64 scalesStride, const int* zeros,
                         i64 zerosStride, const int* groupOf, int maxCode, float* wt, i64 wtStride, i64 outputs) {
    FOR_CHUNK(i, o, outputs) {
        i64 group = groupOf[i];
        wt[i * wtStride + o] = mul(scales[group * scalesStride + o],
                                   rounded(latent[i * latentStride + o], zeros[group * zerosStride + o], maxCode));
    }
}

KERNEL(256) latent_codes(const float* latent, i64 latentStride, const int* zeros, i64 zerosStride, const int* groupOf,
                         int maxCode, u8* codes, i64 codesStride, i64 outputs) {
    FOR_CHUNK(i, o, outputs) {
        int zero = zeros[groupOf[i] * zerosStride + o];
        codes[i * codesStride + o] = (u8)((int)rounded(latent[i * latentStride + o], zero, maxCode) + zero);
    }
}

// A thread has one output of one group, whose inputs it goes through in order: no sum is shared.
KERNEL(256) latent_gradient(const float* latent, i64 latentStride, const float* scales, i64 scalesStride,
                            const int* zeros, i64 zerosStride, const int* groupOf, int maxCode, int firstGroup, float* d,
                            i64 dStride, float* dScales, i64 dScalesStride, int inputs, i64 outputs) {
    i64 o = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= outputs) {
        return;
    }
    i64 group = firstGroup + (i64)blockIdx.y;
    float scale = scales[group * scalesStride + o];
    int zero = zeros[group * zerosStride + o];
    float sum = dScales[group * dScalesStride + o];
    for (int i = 0; i < inputs; i++) {
        if (groupOf[i] == group) {
            float dw = d[i * dStride + o];
            float nearest = rintf(latent[i * latentStride + o]);
            float steps = held(nearest, (float)-zero, (float)(maxCode - zero));
            sum = add(sum, mul(dw, steps));
            d[i * dStride + o] = steps == nearest ? mul(dw, scale) : 0.0f;
        }
    }
    dScales[group * dScalesStride + o] = sum;
}

KERNEL(256) adam(float rate, float beta1, float beta2, float epsilon, float firstCorrection, float secondCorrection,
                 const float* gradient, i64 gradientStride, float* first, i64 firstStride, float* second,
                 i64 secondStride, const float* unit, i64 unitStride, float* parameter, i64 parameterStride,
                 i64 columns) {
    FOR_CHUNK(row, c, columns) {
        float g = gradient[row * gradientStride + c];
        float mean = beta1 * first[row * firstStride + c] + (1 - beta1) * g;
        float square = beta2 * second[row * secondStride + c] + (1 - beta2) * g * g;
        first[row * firstStride + c] = mean;
        second[row * secondStride + c] = square;
        float direction = rate * mean * firstCorrection / (sqrtf(square * secondCorrection) + epsilon);
        float size = unit ? unit[row * unitStride + c] : 1;
        parameter[row * parameterStride + c] -= direction * (size < 0 ? -size : size);
    }
}
