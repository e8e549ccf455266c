package dev.optgptq.calibrate.family;

import java.util.List;

/**
 * How the parts that one linear computes (queries, keys, values; gate, up) share its rows on disk: they fall into groups, and
 * in every group each part has its share. One group is part after part. Weights stay in this order, in which they are
 * quantized and written; passes regroup the columns of the outputs.
 *
 * @param groups 1 where the parts follow one another
 * @param parts rows of each part, all groups together
 */
public record RowOrder(int groups, List<Integer> parts) {

    public RowOrder {
        parts = List.copyOf(parts);
        for (int part : parts) {
            if (groups < 1 || part % groups != 0) {
                throw new IllegalArgumentException(parts + " rows do not fall into " + groups + " groups");
            }
        }
    }

    /** Of a linear that computes one thing. */
    public static RowOrder single(int rows) {
        return new RowOrder(1, List.of(rows));
    }

    public int rows() {
        return parts.stream().mapToInt(Integer::intValue).sum();
    }

    /** Whether the parts lie one after the other already. */
    public boolean isConcatenated() {
        return groups == 1 || parts.size() == 1;
    }

    /** For every row, with the parts one after the other, its place on disk. */
    public int[] onDisk() {
        int[] order = new int[rows()];
        int perGroup = rows() / groups;
        int at = 0;
        int before = 0;
        for (int part : parts) {
            int share = part / groups;
            for (int row = 0; row < part; row++) {
                order[at++] = row / share * perGroup + before + row % share;
            }
            before += share;
        }
        return order;
    }

    /** For every row on disk, its place with the parts one after the other. */
    public int[] inParts() {
        int[] onDisk = onDisk();
        int[] inverse = new int[onDisk.length];
        for (int i = 0; i < onDisk.length; i++) {
            inverse[onDisk[i]] = i;
        }
        return inverse;
    }
}
