@org.jspecify.annotations.NullMarked
package dev.optgptq.kernels.dense;
