/** What runtimes load: rules as data, one file each. */
@NullMarked
package dev.optgptq.gptq.serving;

import org.jspecify.annotations.NullMarked;
