package dev.optgptq.cli.inspect;

import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Counts weights by what they stand for: a packed tensor holds several in each of its 32-bit words. */
final class Parameters {

    private static final String CODES = ".qweight";
    /** What a packed layer needs besides its codes. */
    private static final List<String> COMPANIONS = List.of(".qzeros", ".scales", ".g_idx");

    private Parameters() {}

    static boolean isPacked(TensorView view) {
        return view.name().endsWith(CODES);
    }

    static long count(Collection<TensorView> tensors, @Nullable QuantizationConfig quantization) {
        long count = 0;
        for (TensorView view : tensors) {
            if (quantization == null) {
                count += view.shape().elements();
            } else if (isPacked(view)) {
                count += view.shape().elements() * Integer.SIZE / quantization.bits();
            } else if (COMPANIONS.stream().noneMatch(view.name()::endsWith)) {
                count += view.shape().elements();
            }
        }
        return count;
    }
}
