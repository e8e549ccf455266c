package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.QuantOps.DescentProblem;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Coordinate descent over the codes of a block, on panels of outputs. As in CpuSolveBlock an input's row collects the moves
 * of all rows before it when its turn comes.
 */
final class CpuDescent {

    private CpuDescent() {}

    static void codes(Parallel parallel, DescentProblem problem) {
        int inputs = Math.toIntExact(problem.codes().rows());
        UpperColumns h = UpperColumns.of(problem.h(), inputs);
        int[] groups = CpuCopies.checkedOrder(problem.groupOf(), problem.scales().rows());
        long outputs = problem.codes().columns();
        parallel.forEach(Panel.count(outputs),
                index -> new Descent(problem, inputs, h, groups, Panel.of(index, outputs)).run());
    }

    /** One panel. gradient and moves are [inputs, WIDTH]. */
    private static final class Descent {
        private final DescentProblem problem;
        private final int inputs;
        private final UpperColumns h;
        private final int[] groups;
        private final Panel panel;
        private final PanelGrid grid;
        private final float[] gradient;
        private final float[] moves;
        private final float[] steps = new float[WIDTH];
        private final float[] errors = new float[WIDTH];
        private final int[] codes = new int[WIDTH];
        private final byte[] bytes = new byte[WIDTH];

        Descent(DescentProblem problem, int inputs, UpperColumns h, int[] groups, Panel panel) {
            this.problem = problem;
            this.inputs = inputs;
            this.h = h;
            this.groups = groups;
            this.panel = panel;
            this.grid = new PanelGrid(problem.grid());
            this.gradient = new float[inputs * WIDTH];
            this.moves = new float[inputs * WIDTH];
        }

        void run() {
            panel.read(problem.gradient(), gradient);
            for (int i = 0; i < inputs; i++) {
                if (i == 0 || groups[i] != groups[i - 1]) {
                    panel.readRow(problem.scales(), groups[i], grid.scales, 0);
                    panel.readRow(problem.zeros(), groups[i], grid.zeros);
                    grid.gridsWereSet(panel.width());
                }
                panel.readRow(problem.codes(), i, bytes);
                panel.readRow(problem.errors(), i, errors, 0);
                h.collect(i, 0, i, 1, moves, gradient);
                move(i);
                panel.writeRow(bytes, problem.codes(), i);
                panel.writeRow(errors, 0, problem.errors(), i);
            }
        }

        private void move(int i) {
            float pivot = h.diagonal(i);
            for (int c = 0; c < WIDTH; c++) {
                steps[c] = (bytes[c] & 0xff) - grid.zeros[c];
            }
            for (int c = 0; c < WIDTH; c += LANES) {
                FloatVector g = FloatVector.fromArray(SPECIES, gradient, i * WIDTH + c);
                FloatVector before = FloatVector.fromArray(SPECIES, steps, c);
                FloatVector value = grid.values(before, c);
                FloatVector after = grid.steps(value.sub(g.div(pivot)), c);
                FloatVector move = grid.values(after, c).sub(value);
                VectorMask<Float> better = move.mul(g.add(g).add(move.mul(pivot))).compare(VectorOperators.LT, 0);
                FloatVector.zero(SPECIES).blend(move, better).intoArray(moves, i * WIDTH + c);
                FloatVector error = FloatVector.fromArray(SPECIES, errors, c);
                error.blend(error.add(move), better).intoArray(errors, c);
                grid.codes(before.blend(after, better), c, codes);
            }
            for (int c = 0; c < WIDTH; c++) {
                bytes[c] = (byte) codes[c];
            }
        }
    }
}
