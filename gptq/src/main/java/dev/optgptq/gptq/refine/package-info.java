/**
 * Gradient calibration: what each block gains over plain GPTQ, validated on held-out sequences, and learned rounding.
 */
@NullMarked
package dev.optgptq.gptq.refine;

import org.jspecify.annotations.NullMarked;
