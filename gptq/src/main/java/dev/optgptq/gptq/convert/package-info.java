/** Conversion of multi-head attention to grouped-query attention: the run, its plan, its output and its report. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert;
