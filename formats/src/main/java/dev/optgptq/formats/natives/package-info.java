/** Where the native libraries that come with the program lie on this machine. */
@NullMarked
package dev.optgptq.formats.natives;

import org.jspecify.annotations.NullMarked;
