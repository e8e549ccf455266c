@NullMarked
package dev.optgptq.calibrate;

import org.jspecify.annotations.NullMarked;
