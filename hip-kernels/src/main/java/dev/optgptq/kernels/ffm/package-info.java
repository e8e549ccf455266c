/** Shared libraries through the foreign function interface: search, symbols, settings. */
@NullMarked
package dev.optgptq.kernels.ffm;

import org.jspecify.annotations.NullMarked;
