// MixtureOps: which experts a token goes to, tokens sorted by expert, and expert outputs added back. There are no atomics, so every
// result has the same bits each time.
#include "elements.h"
#include "reduce.h"

#define MOST_EXPERTS 1024
// Codes that GpuMixtureOps.java passes.
#define SIGMOID_SCORES 1
#define SUM_OF_TWO 1
// Added to the sum that sigmoid scores are divided by, as DeepSeek-V3 does.
#define LEAST_SUM 1e-20f

struct Routing {
    int scoring;
    int experts;
    int active;
    int renormalise;
    float scale;
    int groups;
    int activeGroups;
    int groupScore;
};
#define ROUTING int scoring, int experts, int active, int renormalise, float scale, int groups, int activeGroups, \
                int groupScore
#define ROUTING_OF {scoring, experts, active, renormalise, scale, groups, activeGroups, groupScore}

// score[e] = the softmax or the sigmoid of a row of logits.
template <class Scores, class Scratch>
DEVICE void score_experts(const float* logits, const Routing& routing, Scores score, Scratch scratch) {
    if (routing.scoring == SIGMOID_SCORES) {
        for (int e = threadIdx.x; e < routing.experts; e += THREADS) {
            score[e] = 1 / (1 + expf(-logits[e]));
        }
    } else {
        float most = -infinity();
        for (int e = threadIdx.x; e < routing.experts; e += THREADS) {
            most = Larger::of(most, logits[e]);
        }
        most = block_reduce<Larger>(most, scratch);
        float sum = 0;
        for (int e = threadIdx.x; e < routing.experts; e += THREADS) {
            score[e] = expf(logits[e] - most);
            sum += score[e];
        }
        sum = block_reduce<Sum>(sum, scratch);
        for (int e = threadIdx.x; e < routing.experts; e += THREADS) {
            score[e] /= sum;
        }
    }
    __syncthreads();
}

// The index of the largest open value, of equal ones the first, which is then closed. Every thread gets it.
template <class Values, class Open, class Scratch, class Indices>
DEVICE int take_best(Values value, Open open, int count, Scratch best, Indices bestAt) {
    float mine = 0;
    int at = count;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        if (open[i] && (at == count || value[i] > mine)) {
            mine = value[i];
            at = i;
        }
    }
    best[threadIdx.x] = mine;
    bestAt[threadIdx.x] = at;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            int other = bestAt[threadIdx.x + half];
            float theirs = best[threadIdx.x + half];
            int own = bestAt[threadIdx.x];
            if (other < count && (own == count || theirs > best[threadIdx.x]
                                  || (theirs == best[threadIdx.x] && other < own))) {
                best[threadIdx.x] = theirs;
                bestAt[threadIdx.x] = other;
            }
        }
        __syncthreads();
    }
    int found = bestAt[0];
    if (threadIdx.x == 0) {
        open[found] = 0;
    }
    __syncthreads();
    return found;
}

// A block per token. bias [experts] may be null; chosen [rows, active] by falling choice, weights likewise.
KERNEL(THREADS) route(const float* logits, i64 logitStride, const float* bias, ROUTING, int* chosen, i64 chosenStride,
                      float* weights, i64 weightStride) {
    SHARED(float, score, MOST_EXPERTS);
    SHARED(float, choice, MOST_EXPERTS);
    SHARED(int, open, MOST_EXPERTS);
    SHARED(float, groupChoice, MOST_EXPERTS);
    SHARED(int, groupOpen, MOST_EXPERTS);
    SHARED(float, scratch, THREADS);
    SHARED(int, indices, THREADS);
    Routing routing = ROUTING_OF;
    i64 row = blockIdx.x;
    const float* of = logits + row * logitStride;
    score_experts(of, routing, score, scratch);
    // Scores are monotonic in the logits, so without a bias the logits decide: a choice does not depend on rounding.
    bool byLogit = bias == 0 && (groups == 1 || groupScore != SUM_OF_TWO);
    for (int e = threadIdx.x; e < experts; e += THREADS) {
        float value = byLogit ? of[e] : score[e] + (bias == 0 ? 0.0f : bias[e]);
        choice[e] = value == value ? value : -infinity();
        open[e] = groups == 1;
    }
    __syncthreads();
    if (groups > 1) {
        int size = experts / groups;
        for (int g = threadIdx.x; g < groups; g += THREADS) {
            float first = -infinity();
            float second = -infinity();
            for (int e = g * size; e < (g + 1) * size; e++) {
                second = fmaxf(second, fminf(first, choice[e]));
                first = fmaxf(first, choice[e]);
            }
            groupChoice[g] = groupScore == SUM_OF_TWO && size > 1 ? first + second : first;
            groupOpen[g] = 1;
        }
        __syncthreads();
        for (int i = 0; i < activeGroups; i++) {
            int g = take_best(groupChoice, groupOpen, groups, scratch, indices);
            for (int e = threadIdx.x; e < size; e += THREADS) {
                open[g * size + e] = 1;
            }
            __syncthreads();
        }
    }
    float sum = 0;
    for (int i = 0; i < active; i++) {
        int e = take_best(choice, open, experts, scratch, indices);
        sum += score[e];
        if (threadIdx.x == 0) {
            chosen[row * chosenStride + i] = e;
            weights[row * weightStride + i] = score[e] * (renormalise ? 1.0f : scale);
        }
    }
    if (renormalise && threadIdx.x == 0) {
        float factor = scale / (scoring == SIGMOID_SCORES ? sum + LEAST_SUM : sum);
        for (int i = 0; i < active; i++) {
            weights[row * weightStride + i] *= factor;
        }
    }
}

// A block per token. With s the scores, S the sum of the chosen, d the weights' gradients and <> a sum over the chosen: of the
// softmax s (d - <d s>), renormalised s / S (d - <d s> / S) of the chosen alone; of the sigmoid s (1 - s) d, renormalised
// s (1 - s) (d - <d s> / S) / S; all times scale.
KERNEL(THREADS) route_gradient(const float* logits, i64 logitStride, ROUTING, const int* chosen, i64 chosenStride,
                               const float* dWeights, i64 dWeightStride, float* dLogits, i64 dLogitStride) {
    SHARED(float, score, MOST_EXPERTS);
    SHARED(float, gradient, MOST_EXPERTS);
    SHARED(int, isChosen, MOST_EXPERTS);
    SHARED(float, scratch, THREADS);
    Routing routing = ROUTING_OF;
    i64 row = blockIdx.x;
    score_experts(logits + row * logitStride, routing, score, scratch);
    for (int e = threadIdx.x; e < experts; e += THREADS) {
        gradient[e] = 0;
        isChosen[e] = 0;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < active; i += THREADS) {
        int e = chosen[row * chosenStride + i];
        if (e >= 0 && e < experts) {
            gradient[e] = dWeights[row * dWeightStride + i];
            isChosen[e] = 1;
        }
    }
    __syncthreads();
    float sum = 0;
    float product = 0;
    for (int e = threadIdx.x; e < experts; e += THREADS) {
        sum += isChosen[e] ? score[e] : 0.0f;
        product = fmaf(gradient[e], score[e], product);
    }
    sum = block_reduce<Sum>(sum, scratch);
    product = block_reduce<Sum>(product, scratch);
    bool sigmoid = scoring == SIGMOID_SCORES;
    float divisor = renormalise ? (sigmoid ? sum + LEAST_SUM : sum) : 1.0f;
    for (int e = threadIdx.x; e < experts; e += THREADS) {
        float s = score[e];
        float d = gradient[e];
        if (renormalise) {
            d = isChosen[e] ? (d - product / divisor) / divisor : 0.0f;
        } else if (!sigmoid) {
            d -= product;
        }
        dLogits[row * dLogitStride + e] = scale * d * (sigmoid ? s * (1 - s) : s);
    }
}

// counts[e] = the slots of an expert: a block per expert. Slot r active + i is chosen[r, i].
KERNEL(THREADS) count_slots(const int* chosen, i64 stride, i64 rows, int active, int* counts) {
    SHARED(int, scratch, THREADS);
    int count = 0;
    for (i64 slot = threadIdx.x; slot < rows * active; slot += THREADS) {
        count += chosen[slot / active * stride + slot % active] == (int)blockIdx.x ? 1 : 0;
    }
    count = block_reduce<Sum>(count, scratch);
    if (threadIdx.x == 0) {
        counts[blockIdx.x] = count;
    }
}

// offsets [experts + 1] = the sums of the counts before. One thread: there are hundreds at most.
KERNEL(1) sum_counts(const int* counts, int experts, int* offsets) {
    int sum = 0;
    for (int e = 0; e < experts; e++) {
        offsets[e] = sum;
        sum += counts[e];
    }
    offsets[experts] = sum;
}

// A block per expert, in tiles of as many slots as it has threads: each slot's place is how many of the expert come before it.
KERNEL(THREADS) place_slots(const int* chosen, i64 stride, i64 rows, int active, const int* offsets, int* tokens,
                            int* slots) {
    SHARED(int, before, THREADS);
    int next = offsets[blockIdx.x];
    for (i64 from = 0; from < rows * active; from += THREADS) {
        i64 slot = from + threadIdx.x;
        bool inside = slot < rows * active;
        int mine = inside && chosen[slot / active * stride + slot % active] == (int)blockIdx.x ? 1 : 0;
        before[threadIdx.x] = mine;
        __syncthreads();
        for (int reach = 1; reach < THREADS; reach *= 2) {
            int sum = threadIdx.x >= reach ? before[threadIdx.x - reach] : 0;
            __syncthreads();
            before[threadIdx.x] += sum;
            __syncthreads();
        }
        if (mine) {
            int place = next + before[threadIdx.x] - 1;
            tokens[place] = (int)(slot / active);
            slots[place] = (int)slot;
        }
        next += before[THREADS - 1];
        __syncthreads();
    }
}

// target[order[row]] += factors[row] source[row]; rows go to different places. factors may be null, for 1.
KERNEL(256) scatter_add_rows(const float* source, i64 sourceStride, const int* order, const float* factors, float* target,
                             i64 targetStride, i64 targetRows, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        int to = order[row];
        if (to >= 0 && to < targetRows) {
            float* at = target + to * targetStride + column;
            *at = fmaf(factors == 0 ? 1.0f : factors[row], source[row * sourceStride + column], *at);
        }
    }
}

// dSource[row] = factors[row] dTarget[order[row]], dFactors[row] = source[row] . dTarget[order[row]]: a block per row. factors and
// dFactors may be null.
KERNEL(THREADS) scatter_add_rows_gradient(const float* source, i64 sourceStride, const int* order, const float* factors,
                                          const float* dTarget, i64 dTargetStride, i64 targetRows, float* dSource,
                                          i64 dSourceStride, float* dFactors, i64 columns) {
    SHARED(float, scratch, THREADS);
    i64 row = blockIdx.x;
    int from = order[row];
    bool inside = from >= 0 && from < targetRows;
    float factor = factors == 0 ? 1.0f : factors[row];
    float product = 0;
    for (i64 c = threadIdx.x; c < columns; c += THREADS) {
        float d = inside ? dTarget[from * dTargetStride + c] : not_a_number();
        product = fmaf(source[row * sourceStride + c], d, product);
        dSource[row * dSourceStride + c] = mul(factor, d);
    }
    product = block_reduce<Sum>(product, scratch);
    if (threadIdx.x == 0 && dFactors != 0) {
        dFactors[row] = product;
    }
}
