@NullMarked
package dev.optgptq.calibrate.weights;

import org.jspecify.annotations.NullMarked;
