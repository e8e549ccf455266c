/** What the tests of this module share. */
@NullMarked
package dev.optgptq.formats.testing;

import org.jspecify.annotations.NullMarked;
