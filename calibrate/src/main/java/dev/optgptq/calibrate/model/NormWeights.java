package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one norm on the device.
 *
 * @param weight F32 [1, hidden]
 * @param bias F32 [1, hidden], or null
 */
record NormWeights(Tensor weight, @Nullable Tensor bias) {}
