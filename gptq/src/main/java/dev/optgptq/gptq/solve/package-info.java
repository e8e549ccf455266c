/** How codes are chosen for a weight: pure functions over matrices, on any device, without files or models. */
@NullMarked
package dev.optgptq.gptq.solve;

import org.jspecify.annotations.NullMarked;
