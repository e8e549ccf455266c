/** Whether a checkpoint is what it says it is. */
@NullMarked
package dev.optgptq.gptq.verify;

import org.jspecify.annotations.NullMarked;
