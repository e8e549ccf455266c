@NullMarked
package dev.optgptq.gptq.settings;

import org.jspecify.annotations.NullMarked;
