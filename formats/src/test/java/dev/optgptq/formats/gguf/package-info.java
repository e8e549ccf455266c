@NullMarked
package dev.optgptq.formats.gguf;

import org.jspecify.annotations.NullMarked;
