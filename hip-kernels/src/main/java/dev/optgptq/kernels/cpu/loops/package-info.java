/** What the CPU's ops are made of: threads, rows, memory, vector functions. */
@NullMarked
package dev.optgptq.kernels.cpu.loops;

import org.jspecify.annotations.NullMarked;
