/** Tests of the package. */
@NullMarked
package dev.optgptq.kernels.ffm;

import org.jspecify.annotations.NullMarked;
