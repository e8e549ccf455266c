/** What we write, in the programs that it is for. */
@NullMarked
package dev.optgptq.cli.interop;

import org.jspecify.annotations.NullMarked;
