@NullMarked
package dev.optgptq.gptq.bench;

import org.jspecify.annotations.NullMarked;
