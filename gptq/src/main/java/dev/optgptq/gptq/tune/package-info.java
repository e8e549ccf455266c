/** End-to-end tuning of what is left to learn when the codes are fixed. */
@NullMarked
package dev.optgptq.gptq.tune;

import org.jspecify.annotations.NullMarked;
