package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.model.InputSite;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Sums up, for a block's input sites, how what enters them behind quantized blocks goes with what enters them in the original
 * model: C = 2/N sum_t s_t x~_t x_t^T over N tokens, F32 [n, n], x~ being quantized and x original (notes 3.3). With x~ =
 * x it is the Hessian.
 */
public final class CrossMoments implements AutoCloseable {

    private final Device device;
    private final long totalTokens;
    private final TensorArena arena;
    private final Map<InputSite, Tensor> sums = new EnumMap<>(InputSite.class);
    /** The original inputs of a batch, F32 [rows, n]. */
    private final Map<InputSite, Tensor> originals = new EnumMap<>(InputSite.class);
    /** sqrt(s_t) of every token, F32 [1, N], where they weigh differently. */
    private final Map<InputSite, Tensor> factors = new EnumMap<>(InputSite.class);
    private final @Nullable Tensor weighted;

    /**
     * @param batchRows the most tokens that pass at one time
     * @param totalTokens N, all that will pass
     * @param factors sqrt(s_t), F32 [1, N], of the sites whose tokens weigh differently; must stay valid
     */
    public CrossMoments(Device device, ModelSpec spec, Set<InputSite> sites, long batchRows, long totalTokens,
            Map<InputSite, Tensor> factors) {
        this.device = device;
        this.totalTokens = totalTokens;
        this.factors.putAll(factors);
        this.arena = device.arena();
        try {
            long widest = 0;
            for (InputSite site : sites) {
                long n = spec.inputs(site);
                Tensor sum = arena.matrix(DType.F32, n, n);
                device.matrix().fill(sum, 0);
                sums.put(site, sum);
                originals.put(site, arena.matrix(DType.F32, batchRows, n));
                widest = Math.max(widest, n);
            }
            this.weighted = factors.isEmpty() ? null : arena.matrix(DType.F32, batchRows, widest);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** What it takes on the device, in bytes. */
    public static long bytes(ModelSpec spec, Set<InputSite> sites, long batchRows) {
        long bytes = 0;
        long widest = 0;
        for (InputSite site : sites) {
            long n = spec.inputs(site);
            bytes += Float.BYTES * n * (n + batchRows);
            widest = Math.max(widest, n);
        }
        return bytes + Float.BYTES * batchRows * widest;
    }

    /** Keeps the original inputs of the tokens from {@code firstToken} on until their quantized ones come: x F32 [n, inputs]. */
    public void original(InputSite site, long firstToken, Tensor x) {
        Tensor kept = of(originals, site).rows(0, x.rows());
        Tensor factor = factors.get(site);
        if (factor == null) {
            device.matrix().copy(x, kept);
        } else {
            device.gradient().scaleRows(x, factor.columns(firstToken, x.rows()), kept);
        }
    }

    /** Adds the same tokens, as they come from the quantized blocks: x F32 [n, inputs]. */
    public void quantized(InputSite site, long firstToken, Tensor x) {
        Tensor factor = factors.get(site);
        Tensor rows = x;
        if (factor != null && weighted != null) {
            rows = weighted.rows(0, x.rows()).columns(0, x.columns());
            device.gradient().scaleRows(x, factor.columns(firstToken, x.rows()), rows);
        }
        device.matrix().gemm(2f / totalTokens, rows, true, of(originals, site).rows(0, x.rows()), false, 1,
                of(sums, site));
    }

    /** C of a site, F32 [n, n]; this owns it. */
    public Tensor cross(InputSite site) {
        return of(sums, site);
    }

    private static Tensor of(Map<InputSite, Tensor> tensors, InputSite site) {
        Tensor found = tensors.get(site);
        if (found == null) {
            throw new IllegalArgumentException(site + " is not summed up");
        }
        return found;
    }

    @Override
    public void close() {
        arena.close();
    }
}
