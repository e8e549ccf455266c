/** Memory: what a run needs, what is free, and where things are placed. */
@NullMarked
package dev.optgptq.gptq.run.memory;

import org.jspecify.annotations.NullMarked;
