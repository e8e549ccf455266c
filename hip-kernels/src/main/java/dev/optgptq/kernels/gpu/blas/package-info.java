/** The vendors' matrix libraries, rocBLAS and cuBLAS, through the foreign function interface. */
@NullMarked
package dev.optgptq.kernels.gpu.blas;

import org.jspecify.annotations.NullMarked;
