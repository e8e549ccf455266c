package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The sums of a block's experts from several passes, kept on the host, or in a temporary file, until all have passed: what an
 * expert with few tokens is drawn towards is a sum over all. Then they are completed one by one, to the bit as by a
 * {@link HessianAccumulator} that has them all.
 */
public final class ParkedHessians implements SiteHessians, AutoCloseable {

    private final Device device;
    private final long totalTokens;
    private final HostBuffer buffer;
    private final TensorArena arena;
    private final Map<InputSite.Kind, ExpertHessians> layer = new EnumMap<>(InputSite.Kind.class);
    private final Map<InputSite, Parked> parked = new HashMap<>();
    private long used;
    private float residual;
    private @Nullable Given given;

    /** One site's sum, F32 [n, n], of which the upper triangle counts. */
    private record Parked(MemorySegment sum, int n, Activity activity) {}

    /** The one that the caller has. */
    private record Given(InputSite site, TensorArena arena, Tensor hessian) {}

    /**
     * @param totalTokens of the calibration
     * @param memoryBytes above which a temporary file is used
     */
    public ParkedHessians(Device device, BlockSpec block, long totalTokens, long memoryBytes) {
        this.device = device;
        this.totalTokens = totalTokens;
        this.buffer = new HostBuffer(bytes(block), memoryBytes);
        this.arena = device.arena();
    }

    /** Bytes on the host, or in the file. */
    public static long bytes(BlockSpec block) {
        return experts(block).stream().mapToLong(site -> square(block, site)).sum();
    }

    /**
     * Device memory beside the sums: the layer's mean with its share of one, and the one that is solved.
     *
     * @param kinds of token weights, each with sums of its own, of which one is solved at a time
     */
    public static long deviceBytes(BlockSpec block, int kinds) {
        return ExpertHessians.bytes(block, kinds)
                + experts(block).stream().mapToLong(site -> square(block, site)).max().orElse(0);
    }

    private static List<InputSite> experts(BlockSpec block) {
        return block.sites().stream().filter(InputSite::ofExpert).toList();
    }

    private static long square(BlockSpec block, InputSite site) {
        return (long) Float.BYTES * block.inputs(site) * block.inputs(site);
    }

    /** Takes over the sums of some experts, all of whose tokens have passed; they follow those before in order. */
    public void add(HessianAccumulator sums) {
        residual = Math.max(residual, sums.largestResidual());
        for (InputSite site : sums.sites().stream().filter(InputSite::ofExpert).toList()) {
            Tensor sum = sums.sum(site);
            int n = Math.toIntExact(sum.columns());
            long tokens = sums.tokens(site);
            layer.computeIfAbsent(site.kind(), kind -> new ExpertHessians(device, arena, kind, n)).add(sum, tokens);
            MemorySegment kept = buffer.memory().asSlice(used, sum.elements() * Float.BYTES);
            device.download(sum, kept);
            used += kept.byteSize();
            parked.put(site, new Parked(kept, n, sums.activity(site)));
        }
    }

    @Override
    public Activity activity(InputSite site) {
        Activity its = of(site).activity();
        return new Activity(its.input(), residual, its.tokens(), its.shrunk());
    }

    /** One at a time: the one before is released. */
    @Override
    public Tensor hessian(InputSite site) {
        if (given != null && given.site.equals(site)) {
            return given.hessian;
        }
        release();
        Parked its = of(site);
        TensorArena own = device.arena();
        Tensor hessian = own.matrix(DType.F32, its.n, its.n);
        given = new Given(site, own, hessian);
        device.upload(its.sum, hessian);
        Objects.requireNonNull(layer.get(site.kind())).complete(hessian, its.activity.tokens(), totalTokens);
        device.matrix().symmetrize(hessian);
        return hessian;
    }

    /** Whether an expert's sum is here. */
    public boolean has(InputSite site) {
        return parked.containsKey(site);
    }

    private Parked of(InputSite site) {
        return Objects.requireNonNull(parked.get(site), () -> site + " is not parked");
    }

    @Override
    public void release(InputSite site) {
        if (given != null && given.site.equals(site)) {
            release();
        }
    }

    private void release() {
        if (given != null) {
            device.synchronize();
            given.arena.close();
            given = null;
        }
    }

    @Override
    public void close() {
        release();
        arena.close();
        buffer.close();
    }
}
