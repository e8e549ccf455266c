/** Places of the bundled native libraries on this machine. */
@NullMarked
package dev.optgptq.formats.natives;

import org.jspecify.annotations.NullMarked;
