/** What is in a model directory. */
@NullMarked
package dev.optgptq.cli.inspect;

import org.jspecify.annotations.NullMarked;
