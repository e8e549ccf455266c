package dev.optgptq.gptq.allocate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The choice of one option for each unit with the least total loss within a number of bytes, exactly: dynamic programming over the
 * sums that no other sum beats in both respects (Nemhauser and Ullmann, Management Science 15, 1969). Units of a model have few
 * different sizes, so that few sums are different.
 */
public final class Knapsack {

    private Knapsack() {}

    /**
     * What the first units come to.
     *
     * @param option of the last of them
     * @param before the units before it; null for none
     */
    private record Sum(long bytes, double loss, int option, @Nullable Sum before) {}

    /** The option of each unit; empty where even the smallest do not fit. Of equal losses the fewest bytes. */
    public static Optional<List<Integer>> choose(List<List<Option>> units, long budget) {
        List<Sum> sums = List.of(new Sum(0, 0, -1, null));
        long rest = units.stream().mapToLong(Knapsack::least).sum();
        for (List<Option> options : units) {
            rest -= least(options);
            sums = extended(sums, options, budget - rest);
        }
        if (sums.isEmpty()) {
            return Optional.empty();
        }
        // Sums that are not beaten rise in bytes and fall in loss.
        List<Integer> chosen = new ArrayList<>();
        for (Sum sum = sums.getLast(); sum.before != null; sum = sum.before) {
            chosen.add(sum.option);
        }
        return Optional.of(chosen.reversed());
    }

    private static long least(List<Option> options) {
        return options.stream().mapToLong(Option::bytes).min().orElseThrow();
    }

    private static List<Sum> extended(List<Sum> sums, List<Option> options, long budget) {
        List<Sum> all = new ArrayList<>();
        for (Sum sum : sums) {
            for (int i = 0; i < options.size(); i++) {
                long bytes = sum.bytes + options.get(i).bytes();
                if (bytes <= budget) {
                    all.add(new Sum(bytes, sum.loss + options.get(i).loss(), i, sum));
                }
            }
        }
        all.sort(Comparator.comparingLong(Sum::bytes).thenComparingDouble(Sum::loss));
        List<Sum> best = new ArrayList<>();
        for (Sum sum : all) {
            if (best.isEmpty() || sum.loss < best.getLast().loss) {
                best.add(sum);
            }
        }
        return best;
    }
}
