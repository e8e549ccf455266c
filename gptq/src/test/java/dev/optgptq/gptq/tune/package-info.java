@NullMarked
package dev.optgptq.gptq.tune;

import org.jspecify.annotations.NullMarked;
