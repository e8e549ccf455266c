/** One layer's attention on the device while its heads are being merged: moments, fits, and what they are judged by. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.gptq.convert.layer;
