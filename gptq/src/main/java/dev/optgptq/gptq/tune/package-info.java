/** End-to-end tuning of the remaining parameters once the codes are fixed. */
@NullMarked
package dev.optgptq.gptq.tune;

import org.jspecify.annotations.NullMarked;
