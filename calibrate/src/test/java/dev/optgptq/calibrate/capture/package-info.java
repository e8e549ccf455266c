@NullMarked
package dev.optgptq.calibrate.capture;

import org.jspecify.annotations.NullMarked;
