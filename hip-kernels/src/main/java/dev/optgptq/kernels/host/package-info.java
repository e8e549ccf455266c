/** Host memory and the device shell that the processor's devices share. */
@NullMarked
package dev.optgptq.kernels.host;

import org.jspecify.annotations.NullMarked;
