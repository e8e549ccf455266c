package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The norms of a block between the projections of queries and keys and their positions.
 *
 * @param query null where there is none, as key
 */
public record HeadNorms(@Nullable NormWeights query, @Nullable NormWeights key) {

    public static final HeadNorms NONE = new HeadNorms(null, null);

    public static HeadNorms of(BlockWeights block) {
        return new HeadNorms(block.norm(NormSlot.QUERY), block.norm(NormSlot.KEY));
    }

    /** Whether there is any. */
    public boolean present() {
        return query != null || key != null;
    }

    /** Of F32 [N, heads headDim], in place. */
    public void queries(Device device, Tensor x) {
        apply(query, device, x);
    }

    /** Of F32 [N, kvHeads headDim], in place. */
    public void keys(Device device, Tensor x) {
        apply(key, device, x);
    }

    private static void apply(@Nullable NormWeights norm, Device device, Tensor x) {
        if (norm != null) {
            new NormStep(device).inPlace(norm, x);
        }
    }
}
