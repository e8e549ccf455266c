@NullMarked
package dev.optgptq.gptq.allocate;

import org.jspecify.annotations.NullMarked;
