/** Phases, their times, and the work that is left. */
@NullMarked
package dev.optgptq.gptq.run.progress;

import org.jspecify.annotations.NullMarked;
