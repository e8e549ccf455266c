@NullMarked
package dev.optgptq.formats.packed;

import org.jspecify.annotations.NullMarked;
