/** Generation as a user asks for it: prompts from a file or the command line, answers to a file or the terminal. */
@NullMarked
package dev.optgptq.cli.generate;

import org.jspecify.annotations.NullMarked;
