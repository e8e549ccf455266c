@NullMarked
package dev.optgptq.kernels;

import org.jspecify.annotations.NullMarked;
