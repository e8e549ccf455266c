package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A linear to be solved.
 *
 * @param w [out][in]
 * @param h [in][in], undamped
 */
record PolishProblem(double[][] w, double[][] h, SolveSettings settings) {

    static final double DAMP = 0.01;

    Solved solve(Polish polish) {
        return solve("cpu", 2, polish);
    }

    Solved solve(String name, int threads, Polish polish) {
        try (Device device = Devices.open(name, threads)) {
            return solve(device, polish);
        }
    }

    Solved solve(Device device, Polish polish) {
        try (TensorArena arena = device.arena();
                SiteSolver solver = new SiteSolver(device, new Calibrator.Gptq(settings, false, polish),
                        SolverFixture.tensor(device, arena, h), "test")) {
            Tensor weight = SolverFixture.tensor(device, arena, w);
            QuantizedWeight found = solver.solve(arena, weight).weight();
            return new Solved(this, SolverFixture.codes(device, found), SolverFixture.scales(device, found),
                    SolverFixture.ints(device, found.zeros()), SolverFixture.gIdx(device, found));
        }
    }

    double[][] damped() {
        double mean = IntStream.range(0, h.length).mapToDouble(i -> h[i][i] == 0 ? 1 : h[i][i]).average()
                .orElseThrow();
        double[][] damped = Arrays.stream(h).map(double[]::clone).toArray(double[][]::new);
        IntStream.range(0, h.length).forEach(i -> damped[i][i] += DAMP * mean);
        return damped;
    }

    /**
     * What was found.
     *
     * @param codes [out][in]
     * @param scales [group][out]
     * @param zeros [group][out]
     */
    record Solved(PolishProblem problem, int[][] codes, float[][] scales, int[][] zeros, int[] gIdx) {

        double[] objectives() {
            return objectives(exactScales());
        }

        /** Of one output, with another code for one of its inputs. */
        double objectiveWith(int output, int input, int code) {
            int kept = codes[output][input];
            codes[output][input] = code;
            double moved = objective(problem.damped(), exactScales(), output);
            codes[output][input] = kept;
            return moved;
        }

        private double[][] exactScales() {
            double[][] exact = new double[scales.length][codes.length];
            for (int g = 0; g < scales.length; g++) {
                for (int o = 0; o < codes.length; o++) {
                    exact[g][o] = scales[g][o];
                }
            }
            return exact;
        }

        /** With other scales, [group][out]. */
        private double[] objectives(double[][] other) {
            double[][] h = problem.damped();
            return IntStream.range(0, codes.length).mapToDouble(o -> objective(h, other, o)).toArray();
        }

        private double objective(double[][] h, double[][] other, int o) {
            double[] d = new double[h.length];
            for (int i = 0; i < d.length; i++) {
                d[i] = other[gIdx[i]][o] * steps(o, i) - problem.w[o][i];
            }
            return quadratic(h, d, d);
        }

        private int steps(int o, int i) {
            return codes[o][i] - zeros[gIdx[i]][o];
        }

        double[] leastOverScales() {
            return objectives(jointScales());
        }

        Solved withJointScalesRounded() {
            double[][] joint = jointScales();
            float[][] rounded = new float[joint.length][codes.length];
            for (int g = 0; g < joint.length; g++) {
                for (int o = 0; o < codes.length; o++) {
                    rounded[g][o] = problem.settings.grid().stored((float) joint[g][o]);
                }
            }
            return new Solved(problem, codes, rounded, zeros, gIdx);
        }

        /** s = (A^T H A)^-1 A^T H w (docs/algorithms.md, section 7), [group][out]. */
        private double[][] jointScales() {
            double[][] h = problem.damped();
            int groups = scales.length;
            double[][] joint = new double[groups][codes.length];
            for (int o = 0; o < codes.length; o++) {
                List<double[]> columns = new ArrayList<>();
                for (int g = 0; g < groups; g++) {
                    double[] column = new double[h.length];
                    for (int i = 0; i < column.length; i++) {
                        column[i] = gIdx[i] == g ? steps(o, i) : 0;
                    }
                    columns.add(column);
                }
                double[][] normal = new double[groups][groups];
                double[] right = new double[groups];
                for (int a = 0; a < groups; a++) {
                    right[a] = quadratic(h, columns.get(a), problem.w[o]);
                    for (int b = 0; b < groups; b++) {
                        normal[a][b] = quadratic(h, columns.get(a), columns.get(b));
                    }
                }
                double[][] inverse = ExactObq.invert(normal);
                for (int a = 0; a < groups; a++) {
                    for (int b = 0; b < groups; b++) {
                        joint[a][o] += inverse[a][b] * right[b];
                    }
                }
            }
            return joint;
        }

        private static double quadratic(double[][] h, double[] a, double[] b) {
            double sum = 0;
            for (int i = 0; i < a.length; i++) {
                for (int j = 0; a[i] != 0 && j < b.length; j++) {
                    sum += a[i] * h[i][j] * b[j];
                }
            }
            return sum;
        }
    }
}
