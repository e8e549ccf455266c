package dev.optgptq.gptq.convert.merge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Heads into groups of one size. */
class HeadPartitionTest {

    @Test
    void no_other_groups_cost_less() {
        for (long seed = 0; seed < 20; seed++) {
            for (int size : List.of(2, 3)) {
                double[][] costs = costs(6, seed);
                List<Integer> order = HeadPartition.order(costs, size);
                assertEquals(least(costs, size, new ArrayList<>(IntStream.range(0, 6).boxed().toList())),
                        cost(costs, order, size), 1e-12, "seed " + seed + ", groups of " + size + ": " + order);
            }
        }
    }

    @Test
    void of_many_heads_pairs_that_cost_nothing_find_each_other() {
        int n = 20;
        double[][] costs = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                costs[i][j] = i + j == n - 1 ? 0 : 1;
            }
        }
        List<Integer> order = HeadPartition.order(costs, 2);
        assertEquals(n, order.stream().distinct().count());
        assertTrue(cost(costs, order, 2) < n / 4.0, order.toString());
    }

    private static double[][] costs(int n, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        double[][] costs = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < i; j++) {
                costs[i][j] = random.nextDouble();
                costs[j][i] = costs[i][j];
            }
        }
        return costs;
    }

    private static double cost(double[][] costs, List<Integer> order, int size) {
        double sum = 0;
        for (int i = 0; i < order.size(); i++) {
            for (int j = i / size * size; j < i; j++) {
                sum += costs[order.get(i)][order.get(j)];
            }
        }
        return sum;
    }

    /** By trying all. */
    private static double least(double[][] costs, int size, List<Integer> left) {
        if (left.isEmpty()) {
            return 0;
        }
        double least = Double.POSITIVE_INFINITY;
        for (int set = 0; set < 1 << left.size(); set++) {
            if ((set & 1) == 0 || Integer.bitCount(set) != size) {
                continue;
            }
            List<Integer> group = new ArrayList<>();
            List<Integer> rest = new ArrayList<>();
            for (int i = 0; i < left.size(); i++) {
                ((set >> i & 1) == 1 ? group : rest).add(left.get(i));
            }
            least = Math.min(least, cost(costs, group, size) + least(costs, size, rest));
        }
        return least;
    }
}
