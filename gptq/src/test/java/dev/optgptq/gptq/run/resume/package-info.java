@NullMarked
package dev.optgptq.gptq.run.resume;

import org.jspecify.annotations.NullMarked;
