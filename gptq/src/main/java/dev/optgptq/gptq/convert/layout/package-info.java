/** The form on disk of a model whose own family has no room for what conversion made of it. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.layout;
