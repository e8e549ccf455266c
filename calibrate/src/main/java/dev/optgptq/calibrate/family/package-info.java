@NullMarked
package dev.optgptq.calibrate.family;

import org.jspecify.annotations.NullMarked;
