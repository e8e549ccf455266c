package dev.optgptq.gptq.report;

import dev.optgptq.gptq.report.RunReport.Layer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * How the calibration text fell on the experts of one block.
 *
 * @param tokens of each expert, in their order
 * @param shrunk how many of them have a Hessian that was drawn towards the layer's
 * @param mostShrunk by what share at the most
 */
public record ExpertCoverage(int block, List<Long> tokens, int shrunk, double mostShrunk) {

    public ExpertCoverage {
        tokens = List.copyOf(tokens);
    }

    /** Of every block with experts whose tokens were counted. */
    public static List<ExpertCoverage> of(List<Layer> layers) {
        Map<Integer, Map<Integer, List<Layer>>> blocks = new TreeMap<>();
        for (Layer layer : layers) {
            if (layer.expert() != null && layer.tokens() != null) {
                blocks.computeIfAbsent(layer.block(), block -> new TreeMap<>())
                        .computeIfAbsent(layer.expert(), expert -> new ArrayList<>()).add(layer);
            }
        }
        List<ExpertCoverage> coverage = new ArrayList<>();
        blocks.forEach((block, experts) -> coverage.add(of(block, List.copyOf(experts.values()))));
        return coverage;
    }

    private static ExpertCoverage of(int block, List<List<Layer>> experts) {
        List<Long> tokens = new ArrayList<>();
        int shrunk = 0;
        double most = 0;
        for (List<Layer> expert : experts) {
            long passed = 0;
            double share = 0;
            for (Layer layer : expert) {
                passed = layer.tokens() == null ? passed : layer.tokens();
                share = layer.shrunk() == null ? share : Math.max(share, layer.shrunk());
            }
            tokens.add(passed);
            shrunk += share > 0 ? 1 : 0;
            most = Math.max(most, share);
        }
        return new ExpertCoverage(block, tokens, shrunk, most);
    }

    public long fewest() {
        return tokens.stream().mapToLong(Long::longValue).min().orElse(0);
    }

    public long most() {
        return tokens.stream().mapToLong(Long::longValue).max().orElse(0);
    }

    /** Half of the experts have no more. */
    public long median() {
        return tokens.stream().sorted().skip((tokens.size() - 1) / 2).findFirst().orElse(0L);
    }

    /** Experts that no token passed. */
    public long unseen() {
        return tokens.stream().filter(count -> count == 0).count();
    }
}
