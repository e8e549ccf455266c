package dev.optgptq.gptq.recipe;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** Which linears of a block are kept in step. */
public final class Together {

    private Together() {}

    /**
     * Linears that have one grid: those that read the same input, which share one Hessian and its order, and all experts of a
     * block. Runtimes fuse within these sets (q, k and v; gate and up; experts), and a fused one has one grid.
     */
    public static Collection<List<LinearSpec>> gridsOf(BlockSpec block) {
        return parts(block.linears(), Together::site);
    }

    /** Of those, linears that are quantized all or none: the two scalars a head of a deltanet are not fused with the rest. */
    static Collection<List<LinearSpec>> fused(List<LinearSpec> ofOneGrid) {
        return parts(ofOneGrid, linear -> isScalars(linear.projection()));
    }

    private static Collection<List<LinearSpec>> parts(List<LinearSpec> linears, Function<LinearSpec, Object> key) {
        Map<Object, List<LinearSpec>> parts = new LinkedHashMap<>();
        linears.forEach(linear -> parts.computeIfAbsent(key.apply(linear), first -> new ArrayList<>()).add(linear));
        return parts.values();
    }

    private static Object site(LinearSpec linear) {
        InputSite site = linear.site();
        return site.ofExpert() ? "experts" : site;
    }

    private static boolean isScalars(Projection projection) {
        return projection == Projection.DELTA_BETA || projection == Projection.DELTA_DECAY
                || projection == Projection.DELTA_BETA_DECAY;
    }
}
