/** Finished work on disk that outlives its process, for a later run of the same settings to go on from. */
@NullMarked
package dev.optgptq.gptq.journal;

import org.jspecify.annotations.NullMarked;
