/** The binding of OpenBLAS through the foreign function interface: GEMM, SYRK and LAPACK on host memory. */
@NullMarked
package dev.optgptq.kernels.blas;

import org.jspecify.annotations.NullMarked;
