/** Building blocks of the CPU's ops: threads, rows, memory, vector functions. */
@NullMarked
package dev.optgptq.kernels.cpu.loops;

import org.jspecify.annotations.NullMarked;
