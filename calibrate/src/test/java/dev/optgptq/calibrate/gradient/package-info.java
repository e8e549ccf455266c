@NullMarked
package dev.optgptq.calibrate.gradient;

import org.jspecify.annotations.NullMarked;
