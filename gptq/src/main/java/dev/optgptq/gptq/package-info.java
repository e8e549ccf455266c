@NullMarked
package dev.optgptq.gptq;

import org.jspecify.annotations.NullMarked;
