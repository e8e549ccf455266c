/** What the tests of modules above need of this one. */
@NullMarked
package dev.optgptq.kernels.testing;

import org.jspecify.annotations.NullMarked;
