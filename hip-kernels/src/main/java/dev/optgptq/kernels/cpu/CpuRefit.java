package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.QuantOps.RefitProblem;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Refits the scales of a group to its codes, on panels of outputs. */
final class CpuRefit {

    private CpuRefit() {}

    static void scales(Parallel parallel, RefitProblem problem) {
        long outputs = problem.codes().columns();
        parallel.forEach(Panel.count(outputs), index -> new Refit(problem, Panel.of(index, outputs)).run());
    }

    /** One panel. */
    private static final class Refit {
        private final RefitProblem problem;
        private final Panel panel;
        private final int[] zeros = new int[WIDTH];
        private final float[] scales = new float[WIDTH];
        private final float[] slopes = new float[WIDTH];
        private final float[] bends = new float[WIDTH];
        private final float[] moves = new float[WIDTH];
        private final byte[] codes = new byte[WIDTH];
        private final float[] steps = new float[WIDTH];
        private final float[] row = new float[WIDTH];

        Refit(RefitProblem problem, Panel panel) {
            this.problem = problem;
            this.panel = panel;
        }

        void run() {
            panel.readRow(problem.zeros(), 0, zeros);
            panel.readRow(problem.scales(), 0, scales, 0);
            for (long i = 0; i < problem.codes().rows(); i++) {
                readSteps(i);
                panel.readRow(problem.gradient(), i, row, 0);
                addProducts(slopes);
                panel.readRow(problem.curvature(), i, row, 0);
                addProducts(bends);
            }
            if (moveScales()) {
                panel.writeRow(scales, 0, problem.scales(), 0);
                for (long i = 0; i < problem.codes().rows(); i++) {
                    readSteps(i);
                    panel.readRow(problem.errors(), i, row, 0);
                    moveErrors();
                    panel.writeRow(row, 0, problem.errors(), i);
                }
            }
        }

        private void readSteps(long i) {
            panel.readRow(problem.codes(), i, codes);
            for (int c = 0; c < WIDTH; c++) {
                steps[c] = (codes[c] & 0xff) - zeros[c];
            }
        }

        private void addProducts(float[] sums) {
            for (int c = 0; c < WIDTH; c += LANES) {
                FloatVector product = FloatVector.fromArray(SPECIES, steps, c)
                        .mul(FloatVector.fromArray(SPECIES, row, c));
                FloatVector.fromArray(SPECIES, sums, c).add(product).intoArray(sums, c);
            }
        }

        /** Whether any scale moves. */
        private boolean moveScales() {
            boolean any = false;
            for (int c = 0; c < panel.width(); c++) {
                float fitted = problem.grid().stored(scales[c] - slopes[c] / bends[c]);
                float move = fitted - scales[c];
                boolean better = move * (slopes[c] + slopes[c] + bends[c] * move) < 0;
                if (better && fitted != 0 && Float.isFinite(fitted)) {
                    scales[c] = fitted;
                    moves[c] = move;
                    any = true;
                }
            }
            return any;
        }

        private void moveErrors() {
            for (int c = 0; c < WIDTH; c += LANES) {
                FloatVector move = FloatVector.fromArray(SPECIES, moves, c);
                FloatVector error = FloatVector.fromArray(SPECIES, row, c);
                FloatVector moved = move.fma(FloatVector.fromArray(SPECIES, steps, c), error);
                error.blend(moved, move.compare(VectorOperators.NE, 0)).intoArray(row, c);
            }
        }
    }
}
