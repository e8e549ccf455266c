/** GPU code on the SIMT emulator of src/test/emulator: the library path is all that differs from a card. */
@NullMarked
package dev.optgptq.kernels.emulator;

import org.jspecify.annotations.NullMarked;
