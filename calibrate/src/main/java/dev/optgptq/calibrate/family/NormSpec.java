package dev.optgptq.calibrate.family;

import java.util.ArrayList;
import java.util.List;

/**
 * One norm.
 *
 * @param name on disk without ".weight"; "{}" in it stands for the number of a head where each has a tensor of its own
 * @param offset added to the weight as stored: 1 where the factor is 1 + w
 * @param width columns of what is normalised
 * @param group columns that are normalised together; the width, or a head's
 * @param tensors on disk: 1, or as many as groups
 */
public record NormSpec(String name, Kind kind, float eps, float offset, boolean bias, int width, int group,
        int tensors) {

    /** RMS: Zhang and Sennrich 2019. LAYER: Ba et al. 2016. */
    public enum Kind {
        RMS, LAYER
    }

    /** Whether the columns of a row fall into groups. */
    public boolean grouped() {
        return group != width;
    }

    /** Whether groups have weights of their own, or all columns are one group: an order of heads, or fewer of them, is then another norm. */
    public boolean tellsGroupsApart() {
        return weightColumns() == width;
    }

    /** The same of another width, with groups as wide, if it has any. */
    public NormSpec withWidth(int other) {
        return new NormSpec(name, kind, eps, offset, bias, other, grouped() ? group : other,
                tensors == 1 ? 1 : other / group);
    }

    /** Columns of the weight: a group's, shared by all, or one for every column. */
    public int weightColumns() {
        return grouped() && tensors == 1 ? group : width;
    }

    /** Weights and biases that it keeps: both have weightColumns(). */
    public long elements() {
        return (bias ? 2L : 1L) * weightColumns();
    }

    /**
     * One of its tensors on disk, [columns].
     *
     * @param first of the weight's columns that it holds
     */
    public record Stored(String tensor, boolean isBias, int first, int columns) {}

    /** Its tensors on disk: weights first. */
    public List<Stored> stored() {
        List<Stored> stored = new ArrayList<>();
        int columns = weightColumns() / tensors;
        for (int i = 0; i < tensors; i++) {
            stored.add(new Stored(at(i) + ".weight", false, i * columns, columns));
        }
        for (int i = 0; bias && i < tensors; i++) {
            stored.add(new Stored(at(i) + ".bias", true, i * columns, columns));
        }
        return stored;
    }

    private String at(int index) {
        return name.replace("{}", Integer.toString(index));
    }
}
