@NullMarked
package dev.optgptq.formats.dtype;

import org.jspecify.annotations.NullMarked;
