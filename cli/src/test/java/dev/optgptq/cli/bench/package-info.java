/** Programs that measure; run by the Makefile, never by the tests. */
@NullMarked
package dev.optgptq.cli.bench;

import org.jspecify.annotations.NullMarked;
