/** The state that a run saves so that the next one can resume. */
@NullMarked
package dev.optgptq.gptq.run.resume;

import org.jspecify.annotations.NullMarked;
