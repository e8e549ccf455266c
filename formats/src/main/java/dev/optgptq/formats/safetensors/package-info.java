@NullMarked
package dev.optgptq.formats.safetensors;

import org.jspecify.annotations.NullMarked;
