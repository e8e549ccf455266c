@NullMarked
package dev.optgptq.cli;

import org.jspecify.annotations.NullMarked;
