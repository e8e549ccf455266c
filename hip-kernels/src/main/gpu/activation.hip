// NeuralOps.activate, in place, and activateGated.
#include "activation.h"

KERNEL(256) activate(int kind, float* x, i64 xStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float* at = x + row * xStride + column;
        *at = activation(kind, *at);
    }
}

// out may be gate.
KERNEL(256) activate_gated(int kind, const float* gate, i64 gateStride, const float* up, i64 upStride, void* out, int type,
                           i64 outStride, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        float activated = activation(kind, gate[row * gateStride + column]);
        store_float(out, row * outStride + column, type, activated * up[row * upStride + column]);
    }
}
