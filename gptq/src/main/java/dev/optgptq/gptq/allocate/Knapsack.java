package dev.optgptq.gptq.allocate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The choice of one item of each unit with the least total cost within a size, exactly: dynamic programming over the sums that no
 * other sum beats in both respects (Nemhauser and Ullmann, Management Science 15, 1969). Units of a model have few different
 * sizes, so that few sums are different.
 */
public final class Knapsack {

    private Knapsack() {}

    /** What can be chosen for a unit. */
    public record Item(long size, double cost) {}

    /**
     * What the first units come to.
     *
     * @param item of the last of them
     * @param before the units before it; null for none
     */
    private record Sum(long size, double cost, int item, @Nullable Sum before) {}

    /** The index of each unit's item; empty where even the smallest do not fit. Of equal costs the least size. */
    public static Optional<List<Integer>> choose(List<List<Item>> units, long budget) {
        List<Sum> sums = List.of(new Sum(0, 0, -1, null));
        long rest = units.stream().mapToLong(Knapsack::least).sum();
        for (List<Item> items : units) {
            rest -= least(items);
            sums = extended(sums, items, budget - rest);
        }
        if (sums.isEmpty()) {
            return Optional.empty();
        }
        // Sums that are not beaten rise in size and fall in cost.
        List<Integer> chosen = new ArrayList<>();
        for (Sum sum = sums.getLast(); sum.before != null; sum = sum.before) {
            chosen.add(sum.item);
        }
        return Optional.of(chosen.reversed());
    }

    private static long least(List<Item> items) {
        return items.stream().mapToLong(Item::size).min().orElseThrow();
    }

    private static List<Sum> extended(List<Sum> sums, List<Item> items, long budget) {
        List<Sum> all = new ArrayList<>();
        for (Sum sum : sums) {
            for (int i = 0; i < items.size(); i++) {
                long size = sum.size + items.get(i).size();
                if (size <= budget) {
                    all.add(new Sum(size, sum.cost + items.get(i).cost(), i, sum));
                }
            }
        }
        all.sort(Comparator.comparingLong(Sum::size).thenComparingDouble(Sum::cost));
        List<Sum> best = new ArrayList<>();
        for (Sum sum : all) {
            if (best.isEmpty() || sum.cost < best.getLast().cost) {
                best.add(sum);
            }
        }
        return best;
    }
}
