@NullMarked
package dev.optgptq.gptq.run.checkpoint;

import org.jspecify.annotations.NullMarked;
