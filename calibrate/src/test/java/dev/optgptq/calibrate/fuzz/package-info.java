/** What strangers' files may hold: a campaign of random inputs, run by hand. */
@NullMarked
package dev.optgptq.calibrate.fuzz;

import org.jspecify.annotations.NullMarked;
