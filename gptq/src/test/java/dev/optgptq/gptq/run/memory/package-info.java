@NullMarked
package dev.optgptq.gptq.run.memory;

import org.jspecify.annotations.NullMarked;
