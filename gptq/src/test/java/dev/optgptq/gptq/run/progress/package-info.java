@NullMarked
package dev.optgptq.gptq.run.progress;

import org.jspecify.annotations.NullMarked;
