@NullMarked
package dev.optgptq.gptq.report;

import org.jspecify.annotations.NullMarked;
