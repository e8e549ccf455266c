/** The op sets on a GPU: which kernels of src/main/gpu an op launches, over which grid. */
@NullMarked
package dev.optgptq.kernels.gpu.ops;

import org.jspecify.annotations.NullMarked;
