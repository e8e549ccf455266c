/** How several key-value heads become one: pure functions over moments of the heads. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.merge;
