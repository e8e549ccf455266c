/** How long a job would take on given cards and nodes, and the memory it would need, without running it. */
@NullMarked
package dev.optgptq.gptq.bench.plan;

import org.jspecify.annotations.NullMarked;
