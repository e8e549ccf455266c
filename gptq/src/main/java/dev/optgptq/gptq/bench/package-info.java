/** What a device takes for a model of a given shape: each op, and the whole job, against the device's own limits. */
@NullMarked
package dev.optgptq.gptq.bench;

import org.jspecify.annotations.NullMarked;
