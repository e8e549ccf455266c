/** Checkpoints of one format as checkpoints of another. */
@NullMarked
package dev.optgptq.formats.exchange;

import org.jspecify.annotations.NullMarked;
