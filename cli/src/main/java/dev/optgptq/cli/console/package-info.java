/** What people see while a command runs: progress, log lines, text tables, numbers with units. */
@NullMarked
package dev.optgptq.cli.console;

import org.jspecify.annotations.NullMarked;
