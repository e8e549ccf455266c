/** What may know what: the rules of CONTRIBUTING.md as tests. */
@NullMarked
package dev.optgptq.cli.architecture;

import org.jspecify.annotations.NullMarked;
