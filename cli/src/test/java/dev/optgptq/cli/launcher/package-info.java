/** The script that people call, run as a process. */
@NullMarked
package dev.optgptq.cli.launcher;

import org.jspecify.annotations.NullMarked;
