@NullMarked
package dev.optgptq.formats.tokenizer;

import org.jspecify.annotations.NullMarked;
