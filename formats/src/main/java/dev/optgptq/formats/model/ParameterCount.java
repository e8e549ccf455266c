package dev.optgptq.formats.model;

import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.scaled.ScaledFormat;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Counts weights by what they stand for: a packed tensor holds several in each of its words, and scales are none. */
final class ParameterCount {

    private static final String CODES = ".qweight";
    /** What a packed layer needs besides its codes. */
    private static final List<String> COMPANIONS = List.of(".qzeros", ".scales", ".g_idx");

    private ParameterCount() {}

    static long of(Collection<TensorView> tensors, @Nullable QuantizationConfig quantization,
            @Nullable ScaledFormat scaled) {
        long count = 0;
        for (TensorView view : tensors) {
            if (quantization != null) {
                count += ofPacked(view, quantization);
            } else {
                count += scaled == null ? view.shape().elements() : scaled.parameters(view);
            }
        }
        return count;
    }

    private static long ofPacked(TensorView view, QuantizationConfig quantization) {
        if (view.name().endsWith(CODES)) {
            return view.shape().elements() * Integer.SIZE / quantization.bits();
        }
        return COMPANIONS.stream().anyMatch(view.name()::endsWith) ? 0 : view.shape().elements();
    }
}
