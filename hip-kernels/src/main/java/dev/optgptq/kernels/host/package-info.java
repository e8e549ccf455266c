/** Host memory and the device shell shared by the CPU's devices. */
@NullMarked
package dev.optgptq.kernels.host;

import org.jspecify.annotations.NullMarked;
