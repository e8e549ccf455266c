package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.ToIntFunction;

/**
 * Accumulates the cross moments of quantized and original inputs of a block's sites: C = 2/N sum_t x~_t x_t^T over N
 * tokens, F32 [n, n], x~ being quantized and x original (docs/algorithms.md, section 5). With x~ = x it is the Hessian.
 * Parts and devices as with HessianAccumulator.
 */
public final class CrossMoments implements AutoCloseable {

    private final Device device;
    private final long totalTokens;
    private final TensorArena arena;
    private final Map<InputSite, TreeSum> sums = new TreeMap<>();
    /** The original inputs of a batch, F32 [rows, n]. */
    private final Map<InputSite, Tensor> originals = new TreeMap<>();

    /**
     * @param batchRows maximum tokens of a batch
     * @param totalTokens N, all that will pass on all devices
     */
    public CrossMoments(Device device, BlockSpec block, Set<InputSite> sites, long batchRows, long totalTokens) {
        this.device = device;
        this.totalTokens = totalTokens;
        this.arena = device.arena();
        try {
            for (InputSite site : sites) {
                long n = block.inputs(site);
                sums.put(site, new TreeSum(device, n, false));
                originals.put(site, arena.matrix(DType.F32, batchRows, n));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /** Peak device memory in bytes, for tokens in a number of parts. */
    public static long bytes(BlockSpec block, Set<InputSite> sites, long batchRows, int parts) {
        return sites.stream().mapToLong(block::inputs)
                .map(n -> Float.BYTES * n * batchRows + TreeSum.bytes(n, false, parts)).sum();
    }

    /** As {@link HessianAccumulator#end}. */
    public void end() {
        sums.values().forEach(TreeSum::end);
    }

    /** Starts the next part: its tokens pass next. */
    public void begin(Shard next) {
        end();
        sums.values().forEach(sum -> sum.begin(next.index()));
    }

    /** Adds the sums of another device, over the following parts. */
    public void absorb(CrossMoments other) {
        sums.forEach((site, sum) -> {
            sum.end();
            of(other.sums, site).end();
            sum.absorb(of(other.sums, site));
        });
    }

    /** As {@link HessianAccumulator#gather}. */
    public void gather(Ranks ranks, ToIntFunction<InputSite> owners) {
        sums.forEach((site, sum) -> {
            sum.end();
            sum.gather(ranks, owners.applyAsInt(site));
        });
        sums.entrySet().removeIf(entry -> {
            boolean elsewhere = owners.applyAsInt(entry.getKey()) != ranks.rank();
            if (elsewhere) {
                entry.getValue().close();
            }
            return elsewhere;
        });
    }

    /** Keeps the original inputs of a batch until its quantized ones come: x F32 [n, inputs]. */
    public void original(InputSite site, Tensor x) {
        device.matrix().copy(x, of(originals, site).rows(0, x.rows()));
    }

    /** Adds the same tokens, as they come from the quantized blocks: x F32 [n, inputs]. */
    public void quantized(InputSite site, Tensor x) {
        device.matrix().gemm(2f / totalTokens, x, true, of(originals, site).rows(0, x.rows()), false, 1,
                of(sums, site).matrix());
    }

    /** C of a site once every token has passed, F32 [n, n]; this owns it. */
    public Tensor cross(InputSite site) {
        TreeSum sum = of(sums, site);
        sum.end();
        sum.finish();
        return sum.matrix();
    }

    private static <T> T of(Map<InputSite, T> all, InputSite site) {
        T found = all.get(site);
        if (found == null) {
            throw new IllegalArgumentException(site + " is not accumulated");
        }
        return found;
    }

    @Override
    public void close() {
        sums.values().forEach(TreeSum::close);
        arena.close();
    }
}
