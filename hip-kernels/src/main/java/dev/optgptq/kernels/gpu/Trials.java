package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.dtype.DType;
import java.lang.System.Logger;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What is known of a GPU by trying it once: whether its library's matmuls are right, copies from other devices arrive, and it has
 * matrix units.
 */
final class Trials {

    private static final Logger LOG = System.getLogger(Trials.class.getName());

    private final GpuContext context;
    private final Map<DType, Boolean> trusted = new EnumMap<>(DType.class);
    /** Other devices by ordinal. */
    private final Map<Integer, Boolean> reached = new HashMap<>();
    private @Nullable Boolean matrixUnits;

    Trials(GpuContext context) {
        this.context = context;
    }

    boolean trustsProducts(DType dtype) {
        GpuBlas library = context.blas();
        return library != null && trusted.computeIfAbsent(dtype, type -> {
            boolean right = ProductCheck.passes(context, library, type);
            if (!right) {
                LOG.log(Logger.Level.WARNING, context.deviceName() + ": " + library.description()
                        + " gives wrong results in " + type + " on this GPU and is not used for it");
            }
            return right;
        });
    }

    boolean hasMatrixUnits() {
        Boolean known = matrixUnits;
        if (known == null) {
            known = MatrixUnits.areThere(context);
            matrixUnits = known;
        }
        return known;
    }

    boolean reaches(GpuContext other) {
        return context.driver().equals(other.driver()) && context.ordinal() != other.ordinal()
                && reached.computeIfAbsent(other.ordinal(), key -> {
                    context.activate();
                    boolean arrives = PeerCheck.passes(context, other);
                    if (!arrives) {
                        LOG.log(Logger.Level.WARNING, "copies from " + other.deviceName() + " to "
                                + context.deviceName() + " arrive damaged; they go through the host instead");
                    }
                    return arrives;
                });
    }
}
