/** Tests of the package. */
@NullMarked
package dev.optgptq.kernels.gpu.rtc;

import org.jspecify.annotations.NullMarked;
