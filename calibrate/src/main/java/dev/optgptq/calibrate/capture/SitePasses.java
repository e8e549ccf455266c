package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * Which Hessians of a block are summed in one pass of the calibration: the sum of every expert would need as much memory as all
 * their weights, or more. Experts do not depend on each other, so some pass at a time; the sites of all tokens come last, with
 * the last experts, so that every pass sees the original weights.
 */
public final class SitePasses {

    private SitePasses() {}

    /** The number of experts that a block has; 0 without a mixture. */
    public static int experts(BlockSpec block) {
        return switch (block.feedForward()) {
            case FeedForward.Dense dense -> 0;
            case FeedForward.Experts mixture -> mixture.router().experts();
        };
    }

    /**
     * The sites of each pass, in order; none without sites.
     *
     * @param wanted of the block's sites
     * @param expertsAtOnce at least 1
     */
    public static List<Set<InputSite>> of(BlockSpec block, Set<InputSite> wanted, int expertsAtOnce) {
        int passes = Math.max(1, Math.ceilDiv(experts(block), expertsAtOnce));
        List<Set<InputSite>> sites = new ArrayList<>();
        for (int i = 0; i < passes; i++) {
            sites.add(new TreeSet<>());
        }
        for (InputSite site : wanted) {
            sites.get(site.ofExpert() ? site.expert() / expertsAtOnce : passes - 1).add(site);
        }
        return sites.stream().filter(pass -> !pass.isEmpty()).toList();
    }

    /** Device memory of what experts with few tokens are drawn towards. */
    public static long meanBytes(BlockSpec block, int kinds) {
        return ExpertHessians.bytes(block, kinds);
    }

    /** The same of the block that takes most. */
    public static long bytes(ModelSpec model, int expertsAtOnce, int parts) {
        return model.most(block -> bytes(block, expertsAtOnce, parts));
    }

    /**
     * Peak device memory of the sums of any pass, as {@link HessianAccumulator#bytes}, with what parking them takes there.
     *
     * @param parts in which tokens come
     */
    public static long bytes(BlockSpec block, int expertsAtOnce, int parts) {
        List<Set<InputSite>> passes = of(block, block.sites(), expertsAtOnce);
        long most = passes.stream().mapToLong(sites -> HessianAccumulator.bytes(block, sites, parts)).max().orElse(0);
        return most + (passes.size() == 1 ? ExpertHessians.bytes(block, 1) : ParkedHessians.deviceBytes(block, 1));
    }
}
