/** The commands: parse, delegate, render. */
@NullMarked
package dev.optgptq.cli.command;

import org.jspecify.annotations.NullMarked;
