/** Finished work on disk that outlives its process, so that a later run of the same settings can resume. */
@NullMarked
package dev.optgptq.gptq.journal;

import org.jspecify.annotations.NullMarked;
