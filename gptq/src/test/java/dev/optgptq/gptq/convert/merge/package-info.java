@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.merge;
