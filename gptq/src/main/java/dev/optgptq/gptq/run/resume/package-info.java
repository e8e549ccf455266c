/** What a run keeps so that the next one resumes from it. */
@NullMarked
package dev.optgptq.gptq.run.resume;

import org.jspecify.annotations.NullMarked;
