/** Least squares over moments: what follows the merged heads is fitted to what the original layer put out. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.fit;
