@NullMarked
package dev.optgptq.calibrate.testing;

import org.jspecify.annotations.NullMarked;
