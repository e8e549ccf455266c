@NullMarked
package dev.optgptq.formats;

import org.jspecify.annotations.NullMarked;
