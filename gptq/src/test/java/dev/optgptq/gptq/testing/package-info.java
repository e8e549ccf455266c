/** What the tests of this module share: tiny models, and a reader of checkpoints that knows the format only. */
@NullMarked
package dev.optgptq.gptq.testing;

import org.jspecify.annotations.NullMarked;
