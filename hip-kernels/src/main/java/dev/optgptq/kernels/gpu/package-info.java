/** GPUs as devices: memory, copies, launches and the ops on them. */
@NullMarked
package dev.optgptq.kernels.gpu;

import org.jspecify.annotations.NullMarked;
