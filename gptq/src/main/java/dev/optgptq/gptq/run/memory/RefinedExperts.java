package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.refine.ParkedLinears;
import dev.optgptq.gptq.refine.Refinement;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** What gradient calibration has of a mixture's experts at a time: device memory, and what waits on the host. */
record RefinedExperts(ModelSpec model, Refinement refinement, ModuleGrids grids) {

    /** The best candidate, and the one that challenges it. */
    private static final int CANDIDATES = 2;

    /** Hessians of a site: with equal token weights, and weighted by the loss's gradient. */
    static int kinds(Refinement refinement) {
        return refinement.weighTokens() ? 2 : 1;
    }

    /** Bytes on the host with more than one pass. */
    long parkedBytes() {
        return kinds(refinement) * model.most(ParkedHessians::bytes)
                + CANDIDATES * model.most(block -> ParkedLinears.bytes(block, grids));
    }

    /** Device memory that decides how many experts come in one pass: their Hessians, and of all at once the factors and codes. */
    long bytes(int atOnce) {
        ExpertPasses passes = new ExpertPasses(atOnce, 0, 0, 0);
        return model.most(block -> kinds(refinement) * passes.passes(block, block.sites()).stream()
                .mapToLong(sites -> HessianAccumulator.bytes(block, sites, 1)).max().orElse(0)
                + (passes.areSeveral(block)
                        ? ParkedHessians.deviceBytes(block, kinds(refinement))
                        : squares(block, block.sites()) + CANDIDATES * ParkedLinears.bytes(block, grids)));
    }

    /** One F32 [n, n] for each site. */
    static long squares(BlockSpec block, Set<InputSite> sites) {
        return sites.stream().mapToLong(site -> square(block, site)).sum();
    }

    /** That of the widest site. */
    static long largestSquare(BlockSpec block, Set<InputSite> sites) {
        return sites.stream().mapToLong(site -> square(block, site)).max().orElse(0);
    }

    private static long square(BlockSpec block, InputSite site) {
        return (long) Float.BYTES * block.inputs(site) * block.inputs(site);
    }

    /** Of sites that are not, or are, of experts. */
    static Set<InputSite> sites(BlockSpec block, boolean ofExperts) {
        Predicate<InputSite> wanted = site -> site.ofExpert() == ofExperts;
        return block.sites().stream().filter(wanted).collect(Collectors.toSet());
    }
}
