package dev.optgptq.kernels;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** Closes several resources even if some fail to close. */
public final class Closing {

    private Closing() {}

    /** Runs every step; then throws the first failure, with the later ones suppressed in it. */
    public static void all(List<Runnable> steps) {
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

    /** Runs every step after a failure, which the caller throws; later failures are suppressed in it. */
    public static void after(Throwable failure, List<Runnable> steps) {
        try {
            all(steps);
        } catch (RuntimeException e) {
            failure.addSuppressed(e);
        }
    }
}
