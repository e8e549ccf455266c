/** Several processes that work as one: who they are, and bytes between them. */
@NullMarked
package dev.optgptq.kernels.ranks;

import org.jspecify.annotations.NullMarked;
