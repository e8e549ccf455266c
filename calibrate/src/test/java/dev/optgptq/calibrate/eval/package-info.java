@NullMarked
package dev.optgptq.calibrate.eval;

import org.jspecify.annotations.NullMarked;
