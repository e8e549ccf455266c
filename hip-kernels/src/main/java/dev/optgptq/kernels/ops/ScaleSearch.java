package dev.optgptq.kernels.ops;

/**
 * The candidates of QuantOps.searchScale: the range of a group, shrunk by 0 to 60 % in steps of 1 %, and for a
 * symmetric grid each of these with either sign of the scale, unless only positive scales are allowed. Codes of a
 * symmetric grid reach one step further down than up, -2^(bits-1) to 2^(bits-1) - 1, so a negative scale gives that
 * step to the positive weights; the formats store it as it is. Candidate k shrinks by k / 2 percent (with signs: even k
 * positive, odd k negative) or by k percent.
 */
public final class ScaleSearch {

    /** Shrink steps of 1 %, step 0 included. */
    public static final int STEPS = 61;

    private ScaleSearch() {}

    /** How many candidates a grid has. */
    public static int candidates(Grid grid) {
        return hasSigns(grid) ? 2 * STEPS : STEPS;
    }

    private static boolean hasSigns(Grid grid) {
        return grid.symmetric() && !grid.positiveScales();
    }

    /**
     * The scale of a candidate, negative for every second one of a grid whose scales have signs.
     *
     * @param range as from Grid.range
     */
    public static float scale(Grid grid, Grid.Range range, int candidate) {
        float scale = Math.abs(grid.scale(range.shrunk(step(grid, candidate))));
        return hasSigns(grid) && candidate % 2 != 0 ? -scale : scale;
    }

    /** The zero point of a candidate with that scale. */
    public static int zero(Grid grid, Grid.Range range, int candidate, float scale) {
        return grid.zero(range.shrunk(step(grid, candidate)), scale);
    }

    private static int step(Grid grid, int candidate) {
        return hasSigns(grid) ? candidate / 2 : candidate;
    }
}
