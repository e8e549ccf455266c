package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Accumulates the Hessians of a block's input sites while calibration batches pass through it: H = 2 / N sum_t x_t
 * x_t^T over N tokens, F32 [n, n] each (GPTQ paper, section 2; the loss |X W^T - X Q^T|^2 of every output has the same
 * H). Linears that share a site share its H.
 *
 * <p>Tokens come part by part. With several devices each has some parts and its own accumulator, and one of them
 * absorbs the others; the sum is the same to the bit as that of one device, see TreeSum.
 *
 * <p>An expert receives only the tokens that the router sends to it: N is then their number, and the Hessian of one
 * with few tokens is shrunk towards the layer's, see ExpertHessians.
 *
 * <p>With token weights the Hessian has the same form with sqrt(s_t) x_t in place of x_t: see weigh.
 */
public final class HessianAccumulator implements InputTap, SiteHessians, AutoCloseable {

    private final Device device;
    private final long totalTokens;
    private final InputSite last;
    private final Map<InputSite, Sum> sums = new TreeMap<>();
    private final Map<InputSite.Kind, ExpertHessians> experts = new EnumMap<>(InputSite.Kind.class);
    /**
     * Owns the peaks, the buffer of weighted rows, F32 [rows of a batch, widest site], and the experts' shared target.
     */
    private final TensorArena scratch;
    private final Peak residual;
    /** Of the residual stream on other devices. */
    private float residualElsewhere;
    private final WeightedRows weighted;
    private @Nullable Shard part;

    /** One site's sum, in the upper triangle until it is complete. */
    private static final class Sum {
        private final TreeSum tree;
        /** Tokens so far, in all parts and in this one. */
        private long tokens;
        private long inPart;
        private boolean isHessian;
        /** F32 [1, N], with token weights. */
        private @Nullable Tensor factors;
        /** Peaks so far: over all devices, and the device's own. */
        private float largest;
        private final Peak peak;

        private Sum(Device device, int n, Peak peak) {
            this.tree = new TreeSum(device, n, true);
            this.peak = peak;
        }
    }

    /**
     * @param sites those to accumulate, at least one; the forward pass stops after the last of them
     * @param totalTokens N, all that will pass on all devices, known from the start so that batches need no rescaling
     */
    public HessianAccumulator(Device device, BlockSpec block, Set<InputSite> sites, long totalTokens) {
        this.device = device;
        this.totalTokens = totalTokens;
        this.last = sites.stream().max(InputSite::compareTo).orElseThrow();
        this.scratch = device.arena();
        try {
            this.residual = new Peak(device, scratch);
            this.weighted = new WeightedRows(device, scratch,
                    sites.stream().mapToLong(block::inputs).max().orElseThrow());
            for (InputSite site : sites) {
                sums.put(site, new Sum(device, block.inputs(site), new Peak(device, scratch)));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /**
     * Peak device memory of the sums of some sites in bytes, for tokens in a number of parts, with the peaks of the
     * sites and of the residual stream.
     */
    public static long bytes(BlockSpec block, Set<InputSite> sites, int parts) {
        return Peak.BYTES + sites.stream()
                .mapToLong(site -> Peak.BYTES + TreeSum.bytes(block.inputs(site), true, parts)).sum();
    }

    /**
     * Gives the tokens of a site weights s_t, before any has passed: H = 2 / N sum_t s_t x_t x_t^T.
     *
     * @param factors sqrt(s_t), F32 [1, N], by token; must stay valid until all have passed. Experts want batch(), too
     */
    public void weigh(InputSite site, Tensor factors) {
        Sum sum = of(site);
        if (factors.columns() != totalTokens || sum.tokens > 0) {
            throw new IllegalStateException(factors + " for " + totalTokens + " tokens of " + site.label() + ", "
                    + sum.tokens + " of which have passed");
        }
        sum.factors = factors;
    }

    /** Starts the next part: its tokens pass next. */
    public void begin(Shard next) {
        endPart();
        part = next;
        for (Sum sum : sums.values()) {
            sum.tree.begin(next.index());
            sum.inPart = 0;
        }
    }

    /** The tokens that pass next are a batch from this one on. */
    public void batch(long firstToken) {
        weighted.batch(firstToken);
    }

    /** The last part has passed: partial sums are added up, as far as other devices do not have their neighbours. */
    public void end() {
        endPart();
    }

    private void endPart() {
        if (part != null) {
            for (Map.Entry<InputSite, Sum> entry : sums.entrySet()) {
                if (!entry.getKey().ofExpert() && entry.getValue().inPart != part.rows()) {
                    throw new IllegalStateException(entry.getValue().inPart + " of the " + part.rows()
                            + " tokens of a part have passed " + entry.getKey().label());
                }
                entry.getValue().tree.end();
            }
            part = null;
        }
    }

    @Override
    public boolean at(InputSite site, Tensor x, @Nullable Tensor tokens) {
        Sum sum = sums.get(site);
        if (sum != null) {
            if (part == null || sum.inPart + x.rows() > part.rows()) {
                throw new IllegalStateException(x.rows() + " tokens after " + sum.inPart + " at " + site.label()
                        + " are more than were announced: " + part);
            }
            sum.peak.add(x);
            Tensor rows = sum.factors == null
                    ? x
                    : weighted.of(x, sum.factors, part.first() + sum.inPart, tokens);
            device.matrix().accumulateGram(2f / totalTokens, rows, sum.tree.matrix());
            sum.inPart += x.rows();
            sum.tokens += x.rows();
        }
        return !site.equals(last);
    }

    /** Receives the residual stream: x F32 [N, hidden]. */
    public void residual(Tensor x) {
        residual.add(x);
    }

    /** The largest input magnitude, over all absorbed devices. */
    @Override
    public Activity activity(InputSite site) {
        Sum sum = of(site);
        double shrunk = site.ofExpert() ? ExpertHessians.share(sum.tokens, sum.tree.matrix().columns()) : 0;
        return new Activity(Math.max(sum.largest, sum.peak.value()), largestResidual(), sum.tokens, shrunk);
    }

    /** The largest magnitude of the residual stream, over all absorbed devices. */
    public float largestResidual() {
        return Math.max(residualElsewhere, residual.value());
    }

    /** Adds the sums of another device, over the following parts. */
    public void absorb(HessianAccumulator other) {
        endPart();
        other.endPart();
        for (Map.Entry<InputSite, Sum> entry : sums.entrySet()) {
            Sum theirs = other.of(entry.getKey());
            entry.getValue().tree.absorb(theirs.tree);
            entry.getValue().tokens += theirs.tokens;
            entry.getValue().largest = Math.max(entry.getValue().largest, other.activity(entry.getKey()).input());
        }
        residualElsewhere = Math.max(residualElsewhere, other.largestResidual());
    }

    /**
     * Brings each site's sums over all ranks, whose parts follow each other, to the rank that solves it; a rank keeps its own sites
     * only. All ranks call this.
     *
     * @param owners the rank of a site, the same for all experts of a kind
     */
    public void gather(Ranks ranks, ToIntFunction<InputSite> owners) {
        endPart();
        for (long[] other : ranks.exchange(Float.floatToIntBits(largestResidual()))) {
            residualElsewhere = Math.max(residualElsewhere, Float.intBitsToFloat((int) other[0]));
        }
        for (InputSite site : List.copyOf(sums.keySet())) {
            Sum sum = of(site);
            sum.tree.gather(ranks, owners.applyAsInt(site));
            List<long[]> all = ranks.exchange(sum.tokens,
                    Float.floatToIntBits(Math.max(sum.largest, sum.peak.value())));
            if (owners.applyAsInt(site) != ranks.rank()) {
                release(site);
                continue;
            }
            sum.tokens = all.stream().mapToLong(each -> each[0]).sum();
            for (long[] each : all) {
                sum.largest = Math.max(sum.largest, Float.intBitsToFloat((int) each[1]));
            }
        }
    }

    /** Tokens that a site has seen. */
    public long tokens(InputSite site) {
        return of(site).tokens;
    }

    /** The sites that are not released. */
    Set<InputSite> sites() {
        return sums.keySet();
    }

    /** The sum of a site once every token has passed, F32 [n, n], upper triangle. */
    Tensor sum(InputSite site) {
        endPart();
        Sum sum = of(site);
        if (!site.ofExpert() && sum.tokens != totalTokens) {
            throw new IllegalStateException(
                    sum.tokens + " of " + totalTokens + " tokens have passed " + site.label());
        }
        sum.tree.finish();
        return sum.tree.matrix();
    }

    /** Completes the Hessian of a site once every token has passed. This accumulator owns it. */
    @Override
    public Tensor hessian(InputSite site) {
        Tensor hessian = sum(site);
        Sum sum = of(site);
        if (!sum.isHessian) {
            if (site.ofExpert()) {
                ofExperts(site.kind()).complete(hessian, sum.tokens, totalTokens);
            }
            device.matrix().symmetrize(hessian);
            sum.isHessian = true;
        }
        return hessian;
    }

    /** The shared target of a layer's experts, computed before the first of their Hessians is returned. */
    private ExpertHessians ofExperts(InputSite.Kind kind) {
        ExpertHessians known = experts.get(kind);
        if (known != null) {
            return known;
        }
        List<InputSite> all = sums.keySet().stream().filter(site -> site.kind() == kind).toList();
        ExpertHessians found = new ExpertHessians(device, scratch, kind, sum(all.getFirst()).columns());
        all.forEach(site -> found.add(sum(site), of(site).tokens));
        experts.put(kind, found);
        return found;
    }

    @Override
    public void release(InputSite site) {
        of(site).tree.close();
        sums.remove(site);
    }

    private Sum of(InputSite site) {
        Sum sum = sums.get(site);
        if (sum == null) {
            throw new IllegalArgumentException(site + " is not accumulated");
        }
        return sum;
    }

    @Override
    public void close() {
        sums.values().forEach(sum -> sum.tree.close());
        sums.clear();
        scratch.close();
    }
}
