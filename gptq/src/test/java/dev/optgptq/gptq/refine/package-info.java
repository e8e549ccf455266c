@NullMarked
package dev.optgptq.gptq.refine;

import org.jspecify.annotations.NullMarked;
