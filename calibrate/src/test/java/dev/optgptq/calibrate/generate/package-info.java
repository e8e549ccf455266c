@NullMarked
package dev.optgptq.calibrate.generate;

import org.jspecify.annotations.NullMarked;
