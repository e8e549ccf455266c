@NullMarked
package dev.optgptq.gptq.recipe;

import org.jspecify.annotations.NullMarked;
