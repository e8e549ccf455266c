/** Memory, copies and launches, on the emulator. */
@NullMarked
package dev.optgptq.kernels.gpu;

import org.jspecify.annotations.NullMarked;
