/** Weights stored as small floats with a scale for each block (FP8, MXFP4), which are read as the floats they stand for. */
@NullMarked
package dev.optgptq.formats.scaled;

import org.jspecify.annotations.NullMarked;
