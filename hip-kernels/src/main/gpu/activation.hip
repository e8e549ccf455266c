// NeuralOps.activate and activateGated, in place.
#include "activation.h"

KERNEL(256) activate(int kind, float* x, i64 xStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = activation(kind, *at);
    }
}

KERNEL(256) activate_gated(int kind, float* gate, i64 gateStride, const float* up, i64 upStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = gate + row * gateStride + column;
        *at = activation(kind, *at) * up[row * upStride + column];
    }
}
