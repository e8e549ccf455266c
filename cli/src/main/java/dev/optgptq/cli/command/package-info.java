/** The commands: parse, delegate, print. */
@NullMarked
package dev.optgptq.cli.command;

import org.jspecify.annotations.NullMarked;
