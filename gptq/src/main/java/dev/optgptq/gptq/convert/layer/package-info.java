/** One layer's attention on the device while its heads are merged: moments, fits, and their validation. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.layer;
