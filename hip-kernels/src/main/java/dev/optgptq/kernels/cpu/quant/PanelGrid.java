package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.ops.ClipNorm;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.ScaleSearch;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/** A grid for each column of a panel: fitting it and rounding to it, lanes being columns. The definition is in Grid. */
final class PanelGrid {

    /** Adding and taking away 1.5 * 2^23 rounds to an integer, half to even, below 2^22. */
    private static final float ROUND = 0x1.8p23f;

    private final Grid grid;
    final float[] scales = new float[WIDTH];
    final int[] zeros = new int[WIDTH];
    /** The values of the lowest and the highest code, in units of the scale. */
    private final float[] lowest = new float[WIDTH];
    private final float[] highest = new float[WIDTH];
    private final float[] low = new float[WIDTH];
    private final float[] high = new float[WIDTH];
    private final Grid.Range[] ranges = new Grid.Range[WIDTH];

    PanelGrid(Grid grid) {
        this.grid = grid;
        Arrays.fill(scales, 1f);
    }

    /** To be called when scales and zeros were changed from outside. Columns that do not exist need a scale other than 0. */
    void gridsWereSet(int width) {
        Arrays.fill(scales, width, WIDTH, 1f);
        for (int c = 0; c < WIDTH; c++) {
            lowest[c] = -zeros[c];
            highest[c] = grid.maxCode() - zeros[c];
        }
    }

    /** Fits rows [from, to) of w [., WIDTH]. */
    void fit(float[] w, int from, int to) {
        findRanges(w, from, to);
        if (grid.clipSearch()) {
            new ClipSearch().run(w, from, to);
        }
        for (int c = 0; c < WIDTH; c++) {
            scales[c] = grid.scale(ranges[c]);
            zeros[c] = grid.zero(ranges[c], scales[c]);
        }
        gridsWereSet(WIDTH);
    }

    /** Chooses scales for all rows of w [rows, WIDTH] as QuantOps.searchScale says. */
    void search(float[] w, int rows, float[] importance) {
        findRanges(w, 0, rows);
        new WeightedSearch().run(w, rows, importance);
    }

    private void findRanges(float[] w, int from, int to) {
        findEnds(w, from, to);
        for (int c = 0; c < WIDTH; c++) {
            ranges[c] = grid.range(low[c], high[c]);
        }
    }

    /** min(0, min w) and max(0, max w) of each column. */
    private void findEnds(float[] w, int from, int to) {
        for (int c = 0; c < WIDTH; c += LANES) {
            FloatVector least = FloatVector.zero(SPECIES);
            FloatVector most = FloatVector.zero(SPECIES);
            for (int row = from; row < to; row++) {
                FloatVector value = FloatVector.fromArray(SPECIES, w, row * WIDTH + c);
                least = least.min(value);
                most = most.max(value);
            }
            least.intoArray(low, c);
            most.intoArray(high, c);
        }
    }

    /** w / scale, rounded and clamped: the code less the zero point, for columns c to c + LANES. */
    FloatVector steps(FloatVector w, int c) {
        FloatVector clamped = w.div(FloatVector.fromArray(SPECIES, scales, c))
                .max(FloatVector.fromArray(SPECIES, lowest, c)).min(FloatVector.fromArray(SPECIES, highest, c));
        return clamped.add(ROUND).sub(ROUND);
    }

    /** What steps() stand for. */
    FloatVector values(FloatVector steps, int c) {
        return steps.mul(FloatVector.fromArray(SPECIES, scales, c));
    }

    /** The codes of steps(), into codes[c ..]. */
    void codes(FloatVector steps, int c, int[] codes) {
        IntVector whole = (IntVector) steps.convert(VectorOperators.F2I, 0);
        whole.add(IntVector.fromArray(whole.species(), zeros, c)).intoArray(codes, c);
    }

    /** Tries every candidate of ScaleSearch on the whole panel at a time. */
    private final class WeightedSearch {
        private final float[] inverses = new float[WIDTH];
        private final float[] errors = new float[WIDTH];
        private final float[] least = new float[WIDTH];
        private final int[] best = new int[WIDTH];

        void run(float[] w, int rows, float[] importance) {
            Arrays.fill(least, Float.POSITIVE_INFINITY);
            for (int candidate = 0; candidate < ScaleSearch.candidates(grid); candidate++) {
                for (int c = 0; c < WIDTH; c++) {
                    set(c, candidate);
                    inverses[c] = 1 / scales[c];
                }
                gridsWereSet(WIDTH);
                for (int c = 0; c < WIDTH; c += LANES) {
                    measure(w, rows, importance, c);
                }
                for (int c = 0; c < WIDTH; c++) {
                    if (errors[c] < least[c]) {
                        least[c] = errors[c];
                        best[c] = candidate;
                    }
                }
            }
            for (int c = 0; c < WIDTH; c++) {
                set(c, best[c]);
            }
            gridsWereSet(WIDTH);
        }

        private void set(int c, int candidate) {
            scales[c] = ScaleSearch.scale(grid, ranges[c], candidate);
            zeros[c] = ScaleSearch.zero(grid, ranges[c], candidate, scales[c]);
        }

        private void measure(float[] w, int rows, float[] importance, int c) {
            FloatVector inverse = FloatVector.fromArray(SPECIES, inverses, c);
            FloatVector scale = FloatVector.fromArray(SPECIES, scales, c);
            FloatVector least = FloatVector.fromArray(SPECIES, lowest, c);
            FloatVector most = FloatVector.fromArray(SPECIES, highest, c);
            FloatVector sum = FloatVector.zero(SPECIES);
            for (int row = 0; row < rows; row++) {
                FloatVector value = FloatVector.fromArray(SPECIES, w, row * WIDTH + c);
                FloatVector steps = value.mul(inverse).max(least).min(most).add(ROUND).sub(ROUND);
                FloatVector error = value.sub(steps.mul(scale));
                sum = sum.add(error.mul(error).mul(importance[row]));
            }
            sum.intoArray(errors, c);
        }
    }

    /** Tries every shrunken range on the whole panel at a time. */
    private final class ClipSearch {
        private final Grid.Range[] whole = ranges.clone();
        private final float[] units = new float[WIDTH];
        private final float[] errors = new float[WIDTH];
        private final float[] least = new float[WIDTH];
        private final int[] best = new int[WIDTH];

        void run(float[] w, int from, int to) {
            Arrays.fill(least, Float.POSITIVE_INFINITY);
            for (int c = 0; c < WIDTH; c++) {
                units[c] = ClipNorm.unit(whole[c]);
            }
            for (int step = 0; step < Grid.CLIP_STEPS; step++) {
                tryStep(step);
                for (int c = 0; c < WIDTH; c += LANES) {
                    measure(w, from, to, c);
                }
                for (int c = 0; c < WIDTH; c++) {
                    if (errors[c] < least[c]) {
                        least[c] = errors[c];
                        best[c] = step;
                    }
                }
            }
            for (int c = 0; c < WIDTH; c++) {
                ranges[c] = whole[c].shrunk(best[c]);
            }
        }

        private void tryStep(int step) {
            for (int c = 0; c < WIDTH; c++) {
                Grid.Range range = whole[c].shrunk(step);
                scales[c] = grid.scale(range);
                zeros[c] = grid.zero(range, scales[c]);
            }
            gridsWereSet(WIDTH);
        }

        private void measure(float[] w, int from, int to, int c) {
            FloatVector unit = FloatVector.fromArray(SPECIES, units, c);
            FloatVector sum = FloatVector.zero(SPECIES);
            for (int row = from; row < to; row++) {
                FloatVector value = FloatVector.fromArray(SPECIES, w, row * WIDTH + c);
                sum = sum.add(power(value.sub(values(steps(value, c), c)).mul(unit)));
            }
            sum.intoArray(errors, c);
        }

        /** ClipNorm.power, the same operations in the same order. */
        private static FloatVector power(FloatVector d) {
            FloatVector y = d.mul(d);
            FloatVector fifth = ((FloatVector) y.reinterpretAsInts().convert(VectorOperators.I2F, 0)).mul(0.2f);
            FloatVector root = ((IntVector) fifth.convert(VectorOperators.F2I, 0)).add(ClipNorm.ROOT_GUESS)
                    .reinterpretAsFloats();
            for (int i = 0; i < ClipNorm.NEWTON_STEPS; i++) {
                FloatVector square = root.mul(root);
                root = root.mul(0.8f).add(y.div(square.mul(square)).mul(0.2f));
            }
            return y.mul(root);
        }
    }
}
