/** The checkpoint that a run writes: its plan, its tensors, its config. */
@NullMarked
package dev.optgptq.gptq.run.checkpoint;

import org.jspecify.annotations.NullMarked;
