/** How OpenBLAS is found. What it computes is a matter of the contract suite. */
@NullMarked
package dev.optgptq.kernels.blas;

import org.jspecify.annotations.NullMarked;
