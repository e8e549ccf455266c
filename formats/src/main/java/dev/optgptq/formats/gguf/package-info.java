/** GGUF, the format of llama.cpp: its bytes, and how a model directory becomes one file of it. */
@NullMarked
package dev.optgptq.formats.gguf;

import org.jspecify.annotations.NullMarked;
