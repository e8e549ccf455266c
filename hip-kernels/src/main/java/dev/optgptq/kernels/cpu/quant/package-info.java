/** Quantization on the CPU: codes, packed weights, solving, refitting. */
@NullMarked
package dev.optgptq.kernels.cpu.quant;

import org.jspecify.annotations.NullMarked;
