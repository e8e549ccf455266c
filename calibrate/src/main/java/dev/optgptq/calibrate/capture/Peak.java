package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Locale;

/** The running largest magnitude of activations; it stays on the device until it is read. */
public final class Peak {

    /** Its size on the device. */
    public static final long BYTES = Float.BYTES;

    private final Device device;
    /** F32 [1, 1]. */
    private final Tensor largest;

    /** @param arena owns its bytes */
    public Peak(Device device, TensorArena arena) {
        this.device = device;
        this.largest = arena.vector(DType.F32, 1);
        device.matrix().fill(largest, 0);
    }

    /** x F32, F16 or BF16, any shape. */
    public void add(Tensor x) {
        device.matrix().peak(x, largest);
    }

    /** 0 without activations; infinity if one was not finite. */
    public float value() {
        return HostVectors.floats(device, largest)[0];
    }

    /**
     * Throws UserError NUMERIC for a residual stream whose squares overflow float32 in the norm that reads it: the
     * output of an RMS norm is then 0, and the model continues silently.
     *
     * @param peak of the residual stream
     * @param hiddenSize its width
     * @param where "block 3, residual stream"
     */
    public static void requireInNorms(float peak, int hiddenSize, String where) {
        double most = Math.sqrt(Float.MAX_VALUE / (double) hiddenSize);
        if (!(peak <= most)) {
            throw new UserError(UserError.Code.NUMERIC, String.format(Locale.ROOT,
                    "%s: expected activations up to %.2g, whose squares can be summed in float32 in the norm, found "
                            + "%s; the model's weights or its config are damaged, or the weights were scaled",
                    where, most, Float.isFinite(peak) ? String.format(Locale.ROOT, "%.3g", peak) : "NaN or infinity"));
        }
    }
}
