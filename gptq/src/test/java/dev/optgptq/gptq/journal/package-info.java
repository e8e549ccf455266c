@NullMarked
package dev.optgptq.gptq.journal;

import org.jspecify.annotations.NullMarked;
