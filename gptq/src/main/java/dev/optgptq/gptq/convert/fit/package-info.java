/**
 * Least squares over moments: the projections after the merged heads are fitted to the output of the original layer.
 */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.fit;
