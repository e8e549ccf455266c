/** Measuring models on request: which text, which windows, which thresholds. */
@NullMarked
package dev.optgptq.cli.eval;

import org.jspecify.annotations.NullMarked;
