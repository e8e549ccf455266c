/** The GPU's ops beyond the contract suite: on the emulator, and compiled by the real compilers. */
@NullMarked
package dev.optgptq.kernels.gpu.ops;

import org.jspecify.annotations.NullMarked;
