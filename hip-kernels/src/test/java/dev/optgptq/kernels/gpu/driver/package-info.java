/** Tests of the package. */
@NullMarked
package dev.optgptq.kernels.gpu.driver;

import org.jspecify.annotations.NullMarked;
