/** Kernel sources, and their compilation at run time for the card that is there. */
@NullMarked
package dev.optgptq.kernels.gpu.rtc;

import org.jspecify.annotations.NullMarked;
