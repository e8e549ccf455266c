/** Keys and values in pages on the CPU: storing them, and attention over them. */
@NullMarked
package dev.optgptq.kernels.cpu.cache;

import org.jspecify.annotations.NullMarked;
