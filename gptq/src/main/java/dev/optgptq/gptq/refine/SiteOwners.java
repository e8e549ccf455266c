package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Which rank, or which device of a rank, solves the linears of a site: the most expensive sites first, each to the one that has least to
 * do. All experts of a kind go to one, as their Hessians have a target in common. Every rank finds the same without a message.
 */
public final class SiteOwners {

    private final Map<InputSite, Integer> owners = new HashMap<>();

    /** @param ranks of the job */
    public SiteOwners(BlockSpec block, int ranks) {
        this(block, block.sites(), ranks);
    }

    /**
     * The same for some sites of a block.
     *
     * @param ranks of the job, or devices of one of them
     */
    public SiteOwners(BlockSpec block, Collection<InputSite> sites, int ranks) {
        Map<InputSite, Double> costs = new HashMap<>();
        for (InputSite site : sites) {
            costs.merge(site.ofAnyExpert(), cost(block, site), Double::sum);
        }
        double[] busy = new double[ranks];
        List<InputSite> expensiveFirst = costs.keySet().stream()
                .sorted(Comparator.<InputSite, Double>comparing(costs::get).reversed()
                        .thenComparing(Comparator.naturalOrder()))
                .toList();
        for (InputSite site : expensiveFirst) {
            int least = 0;
            for (int rank = 1; rank < ranks; rank++) {
                if (busy[rank] < busy[least]) {
                    least = rank;
                }
            }
            busy[least] += costs.getOrDefault(site, 0.0);
            owners.put(site, least);
        }
    }

    /** Multiplications, up to a factor: the inverse factor of n inputs, and n^2 for each output. */
    private static double cost(BlockSpec block, InputSite site) {
        double n = block.inputs(site);
        double outputs = block.linears().stream().filter(linear -> linear.site().equals(site))
                .mapToInt(LinearSpec::outputs).sum();
        return n * n * (n + outputs);
    }

    /** The rank that solves what reads the site. */
    public int of(InputSite site) {
        Integer owner = owners.get(site.ofAnyExpert());
        if (owner == null) {
            throw new IllegalArgumentException(site + " is not in the block");
        }
        return owner;
    }
}
