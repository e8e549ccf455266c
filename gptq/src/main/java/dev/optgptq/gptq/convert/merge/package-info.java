/** Merging of key-value heads: pure functions over moments of the heads. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.merge;
