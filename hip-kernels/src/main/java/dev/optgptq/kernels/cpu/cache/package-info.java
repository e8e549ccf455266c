/** Keys and values in pages on the processor: storing them, and attention over them. */
@NullMarked
package dev.optgptq.kernels.cpu.cache;

import org.jspecify.annotations.NullMarked;
