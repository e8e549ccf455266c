package dev.optgptq.gptq.convert;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/** Shares key-value heads out to layers: the least sum of costs under a total, exactly, by dynamic programming over both. */
final class HeadBudget {

    private HeadBudget() {}

    /**
     * Chooses.
     *
     * @param costs by layer, what each possible number of heads costs
     * @param total heads of all layers at most; enough for the least number in each
     * @return the number of each layer; of choices that cost the same, that with fewer heads in the first layers
     */
    static List<Integer> choose(List<? extends SequencedMap<Integer, Double>> costs, int total) {
        int layers = costs.size();
        // least[layer][heads]: the smallest cost of the layers from that one on, with so many heads at most.
        double[][] least = new double[layers + 1][total + 1];
        for (int layer = layers - 1; layer >= 0; layer--) {
            Arrays.fill(least[layer], Double.POSITIVE_INFINITY);
            for (int heads = 0; heads <= total; heads++) {
                for (Map.Entry<Integer, Double> each : costs.get(layer).entrySet()) {
                    if (each.getKey() <= heads) {
                        least[layer][heads] = Math.min(least[layer][heads],
                                each.getValue() + least[layer + 1][heads - each.getKey()]);
                    }
                }
            }
        }
        if (Double.isInfinite(least[0][total])) {
            throw new IllegalArgumentException(total + " heads are too few for " + costs);
        }
        List<Integer> chosen = new ArrayList<>();
        int left = total;
        for (int layer = 0; layer < layers; layer++) {
            int next = next(costs.get(layer), least, layer, left);
            chosen.add(next);
            left -= next;
        }
        return Collections.unmodifiableList(chosen);
    }

    private static int next(SequencedMap<Integer, Double> costs, double[][] least, int layer, int left) {
        return costs.entrySet().stream()
                .filter(each -> each.getKey() <= left
                        && each.getValue() + least[layer + 1][left - each.getKey()] == least[layer][left])
                .mapToInt(Map.Entry::getKey).min().orElseThrow();
    }
}
