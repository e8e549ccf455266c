/** The settings of a run. */
@NullMarked
package dev.optgptq.gptq.settings;

import org.jspecify.annotations.NullMarked;
