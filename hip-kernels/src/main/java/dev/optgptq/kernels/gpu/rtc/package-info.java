/** Kernel sources, and their compilation at run time for the installed GPU. */
@NullMarked
package dev.optgptq.kernels.gpu.rtc;

import org.jspecify.annotations.NullMarked;
