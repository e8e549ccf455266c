/** Generation: sequences whose keys and values stay in pages, computed together, sampled on the host. */
@NullMarked
package dev.optgptq.calibrate.generate;

import org.jspecify.annotations.NullMarked;
