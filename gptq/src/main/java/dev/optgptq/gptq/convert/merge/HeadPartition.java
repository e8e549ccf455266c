package dev.optgptq.gptq.convert.merge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Heads into groups of one size with the least sum of costs between those that share a group. */
final class HeadPartition {

    /** Up to so many heads the least is found exactly, over sets of heads that are in groups already. */
    private static final int EXACT = 16;

    private HeadPartition() {}

    /**
     * Finds it; beyond 16 heads by swaps of two, from neighbours, until none helps.
     *
     * @param costs symmetric
     * @return the heads, group after group
     */
    static List<Integer> order(double[][] costs, int size) {
        List<int[]> groups = costs.length <= EXACT ? exact(costs, size) : swapped(costs, size);
        return groups.stream().peek(Arrays::sort).sorted((a, b) -> Integer.compare(a[0], b[0]))
                .flatMapToInt(Arrays::stream).boxed().toList();
    }

    private static double cost(double[][] costs, int[] group) {
        double sum = 0;
        for (int i = 0; i < group.length; i++) {
            for (int j = 0; j < i; j++) {
                sum += costs[group[i]][group[j]];
            }
        }
        return sum;
    }

    private static List<int[]> exact(double[][] costs, int size) {
        int all = (1 << costs.length) - 1;
        double[] least = new double[all + 1];
        int[] last = new int[all + 1];
        Arrays.fill(least, Double.POSITIVE_INFINITY);
        least[0] = 0;
        List<Integer> sets = IntStream.rangeClosed(1, all).filter(set -> Integer.bitCount(set) == size).boxed()
                .toList();
        for (int set : sets) {
            last[set] = set;
        }
        double[] of = new double[all + 1];
        sets.forEach(set -> of[set] = cost(costs, members(set)));
        for (int used = 0; used < all; used++) {
            if (Double.isInfinite(least[used])) {
                continue;
            }
            int first = Integer.lowestOneBit(~used);
            for (int set : sets) {
                if ((set & first) != 0 && (set & used) == 0 && least[used] + of[set] < least[used | set]) {
                    least[used | set] = least[used] + of[set];
                    last[used | set] = set;
                }
            }
        }
        if (Double.isInfinite(least[all])) {
            throw new IllegalArgumentException("no groups have a finite cost");
        }
        List<int[]> groups = new ArrayList<>();
        for (int left = all; left != 0; left &= ~last[left]) {
            groups.add(members(last[left]));
        }
        return groups;
    }

    private static int[] members(int set) {
        return IntStream.range(0, Integer.SIZE).filter(i -> (set >> i & 1) == 1).toArray();
    }

    private static List<int[]> swapped(double[][] costs, int size) {
        List<int[]> groups = IntStream.range(0, costs.length / size)
                .mapToObj(group -> IntStream.range(group * size, (group + 1) * size).toArray()).toList();
        while (improve(costs, groups)) {
            // Every swap lowers the sum, so this ends.
        }
        return groups;
    }

    private static boolean improve(double[][] costs, List<int[]> groups) {
        boolean improved = false;
        for (int group = 0; group < groups.size(); group++) {
            int[] a = groups.get(group);
            for (int[] b : groups.subList(0, group)) {
                for (int i = 0; i < a.length; i++) {
                    for (int j = 0; j < b.length; j++) {
                        improved |= swap(costs, a, i, b, j);
                    }
                }
            }
        }
        return improved;
    }

    private static boolean swap(double[][] costs, int[] a, int i, int[] b, int j) {
        double before = cost(costs, a) + cost(costs, b);
        exchange(a, i, b, j);
        if (cost(costs, a) + cost(costs, b) < before * (1 - 1e-12)) {
            return true;
        }
        exchange(a, i, b, j);
        return false;
    }

    private static void exchange(int[] a, int i, int[] b, int j) {
        int kept = a[i];
        a[i] = b[j];
        b[j] = kept;
    }
}
