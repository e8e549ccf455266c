package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Tensor;

/**
 * Where attention or an MLP writes its output.
 *
 * @param target F32 [N, hidden]: the residual stream, or memory beside it
 * @param beta 1 to add to what is there, 0 to overwrite it
 */
record Outlet(Tensor target, float beta) {}
