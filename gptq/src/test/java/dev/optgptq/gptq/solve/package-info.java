@NullMarked
package dev.optgptq.gptq.solve;

import org.jspecify.annotations.NullMarked;
