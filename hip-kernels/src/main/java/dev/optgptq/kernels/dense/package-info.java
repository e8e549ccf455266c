/** Linear algebra in float64 on the host, for matrices that are small beside a model's weights: moments of heads, ridge systems. */
@org.jspecify.annotations.NullMarked
package dev.optgptq.kernels.dense;
