/** What a user decides about a run. */
@NullMarked
package dev.optgptq.gptq.settings;

import org.jspecify.annotations.NullMarked;
