/** The op set: interfaces, and the checks of their arguments. */
@NullMarked
package dev.optgptq.kernels.ops;

import org.jspecify.annotations.NullMarked;
