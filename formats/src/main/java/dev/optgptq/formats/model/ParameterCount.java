package dev.optgptq.formats.model;

import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.scaled.ScaledFormat;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Counts weights by what they stand for: a packed tensor holds several in each of its words, and scales are none. */
final class ParameterCount {

    private ParameterCount() {}

    static long of(Map<String, TensorView> tensors, @Nullable QuantizationConfig quantization,
            @Nullable ScaledFormat scaled) {
        return quantization == null
                ? tensors.values().stream()
                        .mapToLong(view -> scaled == null ? view.shape().elements() : scaled.parameters(view)).sum()
                : ofPacked(tensors, quantization);
    }

    private static long ofPacked(Map<String, TensorView> tensors, QuantizationConfig quantization) {
        Set<String> parts = new HashSet<>();
        long count = 0;
        for (TensorView view : tensors.values()) {
            Optional<String> module = quantization.format().module(view);
            if (module.isPresent()) {
                quantization.format().packing().suffixes().forEach(suffix -> parts.add(module.get() + suffix));
                PackedLayout linear = quantization.layout(module.get(), tensors);
                count += (long) linear.inputs() * linear.outputs();
            }
        }
        return count + tensors.values().stream().filter(view -> !parts.contains(view.name()))
                .mapToLong(view -> view.shape().elements()).sum();
    }
}
