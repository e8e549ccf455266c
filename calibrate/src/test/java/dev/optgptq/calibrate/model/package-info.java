@NullMarked
package dev.optgptq.calibrate.model;

import org.jspecify.annotations.NullMarked;
