/** What a run needs, what there is, and where it goes. */
@NullMarked
package dev.optgptq.gptq.run.memory;

import org.jspecify.annotations.NullMarked;
