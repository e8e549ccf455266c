// The softmax of NeuralOps.attention where both its matmuls are a library's: weights = softmax(scores scale + bias) over the
// keys that a query sees, 0 over the others, rounded to the dtype of the second matmul. A block per query and head.
#include "attention_shape.h"
#include "elements.h"
#include "reduce.h"

// Minus infinity where the query does not see the key.
DEVICE float score(const float* row, i64 column, i64 i, i64 j, const Shape& shape, float slope) {
    return shape.sees((int)i, (int)j) ? shape.score(shape.capped(row[column]), slope, (int)i, (int)j) : -infinity();
}

// scores F32 and weights of any float dtype, where they are F32 also in the place of the scores [heads][queries][keys]: rows stride elements apart, heads headStride. The grid is queries
// x heads. Queries count from firstQuery, keys from firstKey; slopes and sinks of these heads may be null; a sink is a score that
// counts in the sum and has no weight to write.
KERNEL(THREADS) causal_softmax(const float* scores, void* weights, int type, i64 stride, i64 headStride,
                               const float* slopes, const float* sinks, int firstQuery, int firstKey, int keys,
                               int length, float scale, float inCaps, int window) {
    SHARED(float, scratch, THREADS);
    i64 start = blockIdx.y * headStride + blockIdx.x * stride;
    const float* row = scores + start;
    float slope = slopes == 0 ? 0.0f : slopes[blockIdx.y];
    i64 i = (i64)firstQuery + blockIdx.x;
    Shape shape = {length, 0, 0, 0, 0, scale, inCaps, window};
    float most = sinks == 0 ? -infinity() : sinks[blockIdx.y];
    for (i64 c = threadIdx.x; c < keys; c += THREADS) {
        most = fmaxf(most, score(row, c, i, firstKey + c, shape, slope));
    }
    most = block_reduce<Larger>(most, scratch);
    float sum = 0;
    for (i64 c = threadIdx.x; c < keys; c += THREADS) {
        sum += expf(score(row, c, i, firstKey + c, shape, slope) - most);
    }
    sum = block_reduce<Sum>(sum, scratch) + (sinks == 0 ? 0.0f : expf(sinks[blockIdx.y] - most));
    for (i64 c = threadIdx.x; c < keys; c += THREADS) {
        store_float(weights, start + c, type, expf(score(row, c, i, firstKey + c, shape, slope) - most) / sum);
    }
}

// GradientOps.attentionCurvature: a block per row of the square matrices, length wide, one under the other.
KERNEL(THREADS) curvature(const float* first, i64 firstStride, const float* second, i64 secondStride, float* errors,
                          i64 errorStride, int length, float byFirst, float bySecond, float byUniform, int window) {
    SHARED(float, scratch, THREADS);
    i64 row = blockIdx.x;
    int i = (int)(row % length);
    int from = window > 0 && i - window + 1 > 0 ? i - window + 1 : 0;
    const float* p = first + row * firstStride;
    const float* q = second + row * secondStride;
    float* e = errors + row * errorStride;
    float ofP = 0, ofQ = 0, ofAll = 0;
    for (int j = from + threadIdx.x; j <= i; j += THREADS) {
        ofP = fmaf(p[j], e[j], ofP);
        ofQ = fmaf(q[j], e[j], ofQ);
        ofAll += e[j];
    }
    ofP = block_reduce<Sum>(ofP, scratch);
    ofQ = block_reduce<Sum>(ofQ, scratch);
    float uniform = 1.0f / (i + 1 - from);
    ofAll = block_reduce<Sum>(ofAll, scratch) * uniform;
    for (int j = threadIdx.x; j < length; j += THREADS) {
        bool seen = j >= from && j <= i;
        e[j] = seen ? fmaf(byFirst * p[j], e[j] - ofP, fmaf(bySecond * q[j], e[j] - ofQ, byUniform * uniform * (e[j] - ofAll)))
                    : 0.0f;
    }
}
