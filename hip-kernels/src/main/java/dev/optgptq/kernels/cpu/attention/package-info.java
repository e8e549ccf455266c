/** Attention on the CPU, forward and backward. */
@NullMarked
package dev.optgptq.kernels.cpu.attention;

import org.jspecify.annotations.NullMarked;
