package dev.optgptq.kernels.gpu;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** Closing several things although some refuse. */
final class Closing {

    private Closing() {}

    /** Takes every step; then throws the first failure, with the later ones suppressed in it. */
    static void all(List<Runnable> steps) {
        @Nullable
        RuntimeException first = null;
        for (Runnable step : steps) {
            try {
                step.run();
            } catch (RuntimeException e) {
                if (first == null) {
                    first = e;
                } else {
                    first.addSuppressed(e);
                }
            }
        }
        if (first != null) {
            throw first;
        }
    }
}
