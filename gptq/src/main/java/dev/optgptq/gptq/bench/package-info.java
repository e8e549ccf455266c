/** Times of a model shape on a device: each op, and the whole job, compared with the device's limits. */
@NullMarked
package dev.optgptq.gptq.bench;

import org.jspecify.annotations.NullMarked;
