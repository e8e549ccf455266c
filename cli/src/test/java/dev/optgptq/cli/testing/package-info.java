/** What the command line's tests share. */
@NullMarked
package dev.optgptq.cli.testing;

import org.jspecify.annotations.NullMarked;
