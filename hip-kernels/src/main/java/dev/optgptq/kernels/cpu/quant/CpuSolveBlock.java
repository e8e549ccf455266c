package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.QuantOps.BlockProblem;
import jdk.incubator.vector.FloatVector;

/**
 * GPTQ's inner loop on panels of outputs. An input's row collects the errors of all rows before it when its turn comes,
 * instead of each row being sent on to all later ones: the same sums in the same order, with the running sum in registers.
 */
final class CpuSolveBlock {

    private CpuSolveBlock() {}

    static void solve(Parallel parallel, BlockProblem problem) {
        int inputs = Math.toIntExact(problem.wt().rows());
        UpperColumns u = UpperColumns.of(problem.u(), inputs);
        int[] groups = problem.fitEvery() > 0
                ? new int[0]
                : CpuCopies.checkedOrder(problem.groupOf(), problem.scales().rows());
        parallel.forEach(Panel.count(problem.wt().columns()), index -> new Solver(problem, inputs, u, groups,
                Panel.of(index, problem.wt().columns())).run());
    }

    /** One panel. w and errors are [inputs, WIDTH]. */
    private static final class Solver {
        private final BlockProblem problem;
        private final int inputs;
        private final UpperColumns u;
        private final int[] groups;
        private final Panel panel;
        private final PanelGrid grid;
        private final float[] w;
        private final float[] errors;
        private final int[] codes = new int[WIDTH];
        private final byte[] bytes = new byte[WIDTH];

        Solver(BlockProblem problem, int inputs, UpperColumns u, int[] groups, Panel panel) {
            this.problem = problem;
            this.inputs = inputs;
            this.u = u;
            this.groups = groups;
            this.panel = panel;
            this.grid = new PanelGrid(problem.grid());
            this.w = new float[inputs * WIDTH];
            this.errors = new float[inputs * WIDTH];
        }

        void run() {
            panel.read(problem.wt(), w);
            int span = problem.fitEvery() > 0 ? problem.fitEvery() : inputs;
            for (int start = 0; start < inputs; start += span) {
                int end = Math.min(inputs, start + span);
                if (problem.fitEvery() > 0) {
                    fit(start, end);
                }
                for (int i = start; i < end; i++) {
                    if (problem.fitEvery() == 0 && (i == 0 || groups[i] != groups[i - 1])) {
                        load(groups[i]);
                    }
                    collect(i, start, i);
                    round(i);
                }
            }
        }

        /** The rows of a group must have all earlier errors before they are fitted. */
        private void fit(int start, int end) {
            for (int i = start; i < end; i++) {
                collect(i, 0, start);
            }
            grid.fit(w, start, end);
            panel.writeRow(grid.scales, 0, problem.scales(), start / problem.fitEvery());
            panel.writeRow(grid.zeros, problem.zeros(), start / problem.fitEvery());
        }

        private void load(int group) {
            panel.readRow(problem.scales(), group, grid.scales, 0);
            panel.readRow(problem.zeros(), group, grid.zeros);
            grid.gridsWereSet(panel.width());
        }

        /** w[i] -= sum of u[k, i] errors[k] over k in [from, to). */
        private void collect(int i, int from, int to) {
            u.collect(i, from, to, -1, errors, w);
        }

        /** Codes and error of row i. */
        private void round(int i) {
            float pivot = u.diagonal(i);
            for (int c = 0; c < WIDTH; c += LANES) {
                FloatVector value = FloatVector.fromArray(SPECIES, w, i * WIDTH + c);
                FloatVector steps = grid.steps(value, c);
                grid.codes(steps, c, codes);
                value.sub(grid.values(steps, c)).div(pivot).intoArray(errors, i * WIDTH + c);
            }
            for (int c = 0; c < WIDTH; c++) {
                bytes[c] = (byte) codes[c];
            }
            panel.writeRow(w, i * WIDTH, problem.wt(), i);
            panel.writeRow(errors, i * WIDTH, problem.errors(), i);
            panel.writeRow(bytes, problem.codes(), i);
        }
    }
}
