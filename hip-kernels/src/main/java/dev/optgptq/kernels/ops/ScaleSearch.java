package dev.optgptq.kernels.ops;

/**
 * What QuantOps.searchScale chooses from: the range of a group, shrunk by 0 to 60 % in steps of 1 %, and for a symmetric
 * grid each of these with the sign of the scale either way. Codes of a symmetric grid reach one step further down than up,
 * -2^(bits-1) to 2^(bits-1) - 1, so a negative scale gives that step to the positive weights; the formats store it
 * as it is. Candidate k shrinks by k / 2 percent (symmetric: even k positive, odd k negative) or by k percent.
 */
public final class ScaleSearch {

    /** Shrink steps of 1 %, step 0 included. */
    public static final int STEPS = 61;

    private ScaleSearch() {}

    /** How many candidates a grid has. */
    public static int candidates(Grid grid) {
        return grid.symmetric() ? 2 * STEPS : STEPS;
    }

    /**
     * The range before it is shrunk; a symmetric one reaches as far to either side, whatever the signs of the weights.
     *
     * @param low min(0, min w)
     * @param high max(0, max w)
     */
    public static Grid.Range range(Grid grid, float low, float high) {
        if (!grid.symmetric() || (low == 0 && high == 0)) {
            return grid.range(low, high);
        }
        float both = Math.max(-low, high);
        return new Grid.Range(-both, both);
    }

    /** The scale of a candidate, negative for every second one of a symmetric grid. */
    public static float scale(Grid grid, Grid.Range range, int candidate) {
        float scale = grid.scale(range.shrunk(step(grid, candidate)));
        return grid.symmetric() && candidate % 2 != 0 ? -scale : scale;
    }

    /** The zero point of a candidate with that scale. */
    public static int zero(Grid grid, Grid.Range range, int candidate, float scale) {
        return grid.zero(range.shrunk(step(grid, candidate)), scale);
    }

    private static int step(Grid grid, int candidate) {
        return grid.symmetric() ? candidate / 2 : candidate;
    }
}
