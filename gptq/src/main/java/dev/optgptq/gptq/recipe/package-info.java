/** Modules whose settings differ from those of the run: rules for them, and what they come to in a model. */
@NullMarked
package dev.optgptq.gptq.recipe;

import org.jspecify.annotations.NullMarked;
