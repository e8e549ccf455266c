package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.gpu.GpuContext;
import java.lang.System.Logger;
import java.util.HashMap;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.Function;

/**
 * Kernels that a GPU uses once they have been right on it, for each kind of input: a dtype, or a width of codes. A layout of matrix units
 * that is not what they believe would else be seen in what a model says alone.
 */
final class TriedKernels<K> {

    private static final Logger LOG = System.getLogger(TriedKernels.class.getName());

    private final GpuContext context;
    private final Function<K, String> what;
    private final Map<K, Boolean> right = new HashMap<>();

    /** @param what begins the warning: "attention with BF16 is" */
    TriedKernels(GpuContext context, Function<K, String> what) {
        this.context = context;
        this.what = what;
    }

    /** @param trial whether they are; run once */
    boolean areRight(K kind, BooleanSupplier trial) {
        return right.computeIfAbsent(kind, key -> {
            boolean agrees = trial.getAsBoolean();
            if (!agrees) {
                LOG.log(Logger.Level.WARNING,
                        context.deviceName() + ": " + what.apply(key) + " wrong on this GPU and not used for it");
            }
            return agrees;
        });
    }
}
