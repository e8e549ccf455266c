/** The loss's gradient: for every parameter of a model, and for the outputs of its linears, token by token. */
@NullMarked
package dev.optgptq.calibrate.gradient;

import org.jspecify.annotations.NullMarked;
