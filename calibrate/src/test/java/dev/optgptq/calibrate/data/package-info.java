@NullMarked
package dev.optgptq.calibrate.data;

import org.jspecify.annotations.NullMarked;
