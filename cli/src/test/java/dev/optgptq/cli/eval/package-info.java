@NullMarked
package dev.optgptq.cli.eval;

import org.jspecify.annotations.NullMarked;
