@NullMarked
package dev.optgptq.gptq.serving;

import org.jspecify.annotations.NullMarked;
