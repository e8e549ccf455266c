@NullMarked
package dev.optgptq.gptq.run;

import org.jspecify.annotations.NullMarked;
