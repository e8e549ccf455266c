@NullMarked
package dev.optgptq.kernels.blas;

import org.jspecify.annotations.NullMarked;
