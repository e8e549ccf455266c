package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one linear layer on the device.
 *
 * @param weight F32 [outputs, inputs]
 * @param bias F32 [1, outputs], or null
 */
record LinearWeights(Tensor weight, @Nullable Tensor bias) {}
