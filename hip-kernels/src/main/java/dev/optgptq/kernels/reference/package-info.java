@NullMarked
package dev.optgptq.kernels.reference;

import org.jspecify.annotations.NullMarked;
