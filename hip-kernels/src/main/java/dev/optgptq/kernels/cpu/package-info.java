@NullMarked
package dev.optgptq.kernels.cpu;

import org.jspecify.annotations.NullMarked;
