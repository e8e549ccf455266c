/** Bits for each module: what they cost in bytes, what they cost in loss, and the best choice within a budget. */
@NullMarked
package dev.optgptq.gptq.allocate;

import org.jspecify.annotations.NullMarked;
