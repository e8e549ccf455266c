/** Weights of a model on a device: checked, loaded block by block, fetched before they are needed. */
@NullMarked
package dev.optgptq.calibrate.weights;

import org.jspecify.annotations.NullMarked;
