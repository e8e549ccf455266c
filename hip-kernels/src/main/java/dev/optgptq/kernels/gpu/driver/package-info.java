/** The GPU runtimes, HIP and CUDA, through the foreign function interface behind one interface. */
@NullMarked
package dev.optgptq.kernels.gpu.driver;

import org.jspecify.annotations.NullMarked;
