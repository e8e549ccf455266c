/** Model families as data: descriptions, and the architecture that one makes of a config.json. */
@NullMarked
package dev.optgptq.calibrate.family;

import org.jspecify.annotations.NullMarked;
